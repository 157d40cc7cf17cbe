"""`prompts`: looking at content before anything is made of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, TierOption, WorldOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.layout import data_root


def _collect_prompts(root: Path, world: str | None, tier: str | None, *, is_checked: bool = False) -> dict[str, Any]:
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.common.tiers import select_tiers
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.pipeline.prompt_notes import look_at_prompts
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
    result = {"prompts": rows, "faults": list(dict.fromkeys(faults)), "warnings": warnings}
    if is_checked:
        result["checks"] = [noted.as_json() for state in states for noted in look_at_prompts(context, state)]
    return result


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
    _show_notes(result)


def _show_notes(result: dict[str, Any]) -> None:
    for kind in ("faults", "warnings"):
        for line in result[kind]:
            print_line(f"{kind[:-1]}: {line}")


def _show_checks(result: dict[str, Any]) -> None:
    """Each finding, then each check that found something: why it matters, what to do."""
    found = result["checks"]
    columns = ("world", "tier", "name", "check", "words")
    print_table(columns, [(*(row[name] for name in columns[:-1]), ", ".join(row["words"])) for row in found])
    for check in {row["check"]: row for row in found}.values():
        print_line(f"{check['check']}: {check['reason']}; {check['hint']}")
    if found:
        print_line("`ignore_prompt_checks: [names]` in sq.yaml ends a check")
    noted = {(row["world"], row["tier"], row["slug"]) for row in found}
    print_line(f"something is noted of {len(noted)} of {len(result['prompts'])} prompts")
    _show_notes(result)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def prompts(
        world: WorldOption = None,
        tier: TierOption = None,
        is_checked: Annotated[
            bool, typer.Option("--check", help="Show instead what a model may make of their words, and why.")
        ] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show prompts, seeds and token counts; renders nothing."""
        result = _collect_prompts(data_root(data), world, tier, is_checked=is_checked)
        if as_json:
            print_json(result)
        elif is_checked:
            _show_checks(result)
        else:
            _show_prompts(result)
        if result["faults"]:
            raise typer.Exit(1)
