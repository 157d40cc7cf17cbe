"""`prompts` and `dataset check`: looking at content before anything is made of it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, TierOption, WorldOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import data_root

if TYPE_CHECKING:
    from sq_pipeline.pipeline.adapters.training_needs import TrainingFit
    from sq_pipeline.training.dataset import TrainingDataset


def _collect_prompts(root: Path, world: str | None, tier: str | None) -> dict[str, Any]:
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.common.tiers import select_tiers
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.pipeline.worlds.world_status import world_state_of
    from sq_pipeline.wiring import real_engines

    data = open_data_dir(root)
    context = Context(data, real_engines(data))
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    tiers = select_tiers(tier)
    states = [
        world_state_of(context, selected, shown)
        for selected in context.catalog.select(world)
        for shown in selected.tiers
        if shown in tiers
    ]
    for state in states:
        faults += map(str, state.world.faults)
        for slug, picture in state.pictures.items():
            text = state.texts.get(slug)
            if text is None:
                faults += picture.reasons
                continue
            rows.append(
                {
                    "genre": text.genre,
                    "world": text.world,
                    "poi": slug,
                    "tier": state.tier,
                    "path": data.relative(context.picture_place(state.world, state.tier, slug)),
                    "sha256": picture.record.objects["picture"].sha256 if picture.record else None,
                    "fingerprint": picture.fingerprint if picture.inputs else None,
                    "name": text.poi,
                    "positive_prompt": text.positive_prompt,
                    "negative_prompt": text.negative_prompt,
                    "negative_prompt_is_read": context.base_model_of_world(state.world).reads_negative_prompt,
                    "seed": text.seed,
                    **text.counts.as_json(),
                    "dropped": list(text.dropped),
                }
            )
    if world is None:
        faults += [str(fault) for group in context.catalog.faults.values() for fault in group]
    warnings = [str(warning) for warning in context.catalog.warnings]
    return {"prompts": rows, "faults": list(dict.fromkeys(faults)), "warnings": warnings}


def _tokens(row: dict[str, Any], encoder: str) -> str:
    tokens, budget = row[f"{encoder.lower()}_tokens"], row[f"{encoder.lower()}_budget"]
    note = " (CLIP reads the beginning only)" if encoder == "CLIP" and tokens > budget else ""
    return f"{encoder} {tokens}/{budget}{note}"


def _show_prompts(result: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = []
    for row in result["prompts"]:
        tokens = ", ".join(
            _tokens(row, encoder) for encoder in ("T5", "CLIP", "Qwen3") if f"{encoder.lower()}_tokens" in row
        )
        world, dropped = f"{row['genre']}/{row['world']}", ", ".join(row["dropped"])
        rows.append((world, row["tier"], row["name"], row["positive_prompt"], str(row["seed"]), tokens, dropped))
    print_table(("world", "tier", "name", "prompt", "seed", "tokens", "dropped"), rows)
    if any(row["negative_prompt"] and not row["negative_prompt_is_read"] for row in result["prompts"]):
        print_line("the base model reads no negative prompt; changing one makes nothing again")
    for kind in ("faults", "warnings"):
        for line in result[kind]:
            print_line(f"{kind[:-1]}: {line}")


def _fit_memory(dataset: "TrainingDataset") -> "TrainingFit | None":
    """How the training fits this machine; None over tiny-flux, which always does. Raises TrainingError otherwise."""
    from sq_pipeline.base_models.base_models import Flux1Model, resolve_base_model, training_base_of
    from sq_pipeline.engines import factory
    from sq_pipeline.pipeline.adapters.training_needs import fit_training

    base_model = training_base_of(resolve_base_model(dataset.base_model))
    if base_model.name == "tiny-flux" or not isinstance(base_model, Flux1Model):
        return None
    fit = fit_training(
        dataset.name,
        dataset.recipe,
        base_model,
        factory.usable_memory_bytes(),
        pairs=len(dataset.images),
        captions=len({image.caption for image in dataset.images}),
    )
    if fit.settings is None:
        raise TrainingError(replace(fault, file=f"{dataset.name}/{fault.file}") for fault in fit.faults)
    return fit


def register(app: typer.Typer, dataset: typer.Typer) -> None:
    """Add the commands to the application and to the `dataset` group."""

    @app.command()
    def prompts(
        world: WorldOption = None, tier: TierOption = None, data: DataOption = None, as_json: JsonOption = False
    ) -> None:
        """Show prompts, seeds and token counts; renders nothing."""
        result = _collect_prompts(data_root(data), world, tier)
        if as_json:
            print_json(result)
        else:
            _show_prompts(result)
        if result["faults"]:
            raise typer.Exit(1)

    @dataset.command()
    def check(folder: Path, as_json: JsonOption = False) -> None:
        """Check a training dataset: every fault at once, or that it is fit to train on."""
        from sq_pipeline.base_models.base_models import DEFAULT_BASE_MODEL
        from sq_pipeline.training.dataset import check_dataset

        checked = check_dataset(folder, str(folder), DEFAULT_BASE_MODEL)
        fit = _fit_memory(checked)
        report = {**checked.as_json(), "memory": fit.as_json() if fit else None}
        if as_json:
            print_json(report)
            return
        trigger = f", trigger {report['trigger']!r}" if report["trigger"] else ""
        print_line(f"{report['pairs']} pairs, {report['kind']}{trigger}: fit to train on {report['base_model']}")
        if fit is not None:
            print_line(fit.describe())
        for line in report["warnings"]:
            print_line(f"warning: {line}")
