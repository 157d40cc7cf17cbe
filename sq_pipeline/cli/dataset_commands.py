"""`dataset check` and `dataset import`: a training dataset before anything is trained on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line
from sq_pipeline.common.errors import ContentError, DatasetError, Fault
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir, find_data_root, open_data_dir, shipped_data_root

if TYPE_CHECKING:
    from sq_pipeline.base_models.base_models import BaseModel
    from sq_pipeline.pipeline.adapters.training_needs import TrainingFit
    from sq_pipeline.training.preflight.later_stages import LaterStages
    from sq_pipeline.training.recipe import Recipe, TrainerName


@dataclass(frozen=True)
class _Place:
    """What a dataset is judged by: where base models are, and what is trained over, by whom, where it says nothing."""

    data: DataDir
    base_model: str
    base_model_of: str
    trainer: "TrainerName"


def _data_dir_of(folder: Path, given: Path | None) -> DataDir | None:
    """The data directory that is named, or that the folder lies in; None for a folder that is in none."""
    if given is not None:
        return open_data_dir(given)
    for root in folder.resolve().parents:
        data = DataDir(root)
        if folder.resolve().is_relative_to(data.datasets_root) and data.datasets_root.is_dir():
            return data
    return None


def _place_of(folder: Path, given: Path | None) -> _Place:
    from sq_pipeline.base_models.base_models import DEFAULT_BASE_MODEL
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.wiring import real_engines

    data = _data_dir_of(folder, given)
    if data is None:
        root = find_data_root(None) or shipped_data_root()
        return _Place(DataDir(root), DEFAULT_BASE_MODEL, "", "mlx")
    context = Context(data, real_engines(data))
    settings = context.settings
    for adapter in context.catalog.adapters.values():
        if adapter.dataset is not None and (data.datasets_root / adapter.dataset).resolve() == folder.resolve():
            named = context.base_model_of_adapter(adapter).name
            source = "sq.yaml" if settings.base_model else f"the world of {adapter.key}"
            return _Place(data, named, source, settings.trainer)
    source = "sq.yaml" if settings.base_model else ""
    return _Place(data, settings.base_model or DEFAULT_BASE_MODEL, source, settings.trainer)


def _later_stages(place: _Place, recipe: "Recipe | None") -> "LaterStages":
    from sq_pipeline.engines import factory
    from sq_pipeline.training.preflight.later_stages import LaterStages

    trainer = (recipe.trainer if recipe else None) or place.trainer
    return LaterStages(
        token_counter=lambda base_model: factory.token_counter(base_model.name, place.data),
        trainer_faults=lambda plan: factory.training_faults(place.data, trainer, plan),
    )


def _fit_memory(folder: Path, recipe: "Recipe", base_model: "BaseModel", place: _Place) -> "TrainingFit | None":
    """What the training needs of this machine; None where it is not known."""
    from sq_pipeline.base_models.base_models import Flux1Model, training_base_of
    from sq_pipeline.engines import factory
    from sq_pipeline.pipeline.adapters.training_needs import fit_training
    from sq_pipeline.training.dataset import read_captions

    over = training_base_of(base_model)
    if not isinstance(over, Flux1Model) or (recipe.trainer or place.trainer) != "mlx":
        return None
    captions = [text for _, text in read_captions(folder, str(folder))]
    counts = {"pairs": len(captions), "captions": len(set(captions))}
    return fit_training(str(folder), recipe, over, factory.usable_memory_bytes(), factory.computing_dtype(), **counts)


def _steps_of(recipe: "Recipe | None") -> dict[str, int]:
    from sq_pipeline.training.schedule import schedule_of

    if recipe is None:
        return {}
    schedule = schedule_of(recipe)
    return {"optimizer_steps": schedule.steps, "warmup_steps": schedule.warmup}


def _check(folder: Path, given: Path | None) -> tuple[dict[str, Any], DatasetError | None, Sequence[Fault]]:
    """The report on a dataset, the error that it is refused by, if it is, and what is worth a look."""
    from sq_pipeline.training.dataset import base_model_of, check_dataset
    from sq_pipeline.training.dataset_files import read_recipe
    from sq_pipeline.training.preflight.recipe_notes import count_passes

    name, place = str(folder), _place_of(folder, given)
    recipe, base_model, fit = None, None, None
    try:
        recipe = read_recipe(folder, name)
        base_model = base_model_of(recipe, place.base_model)
        fit = _fit_memory(folder, recipe, base_model, place)
    except (DatasetError, ContentError):
        pass  # the preflight tells it with all else
    judged = {
        "base_model": base_model.name if base_model else None,
        "base_model_of": "lora.yaml" if recipe and recipe.base_model else place.base_model_of or "the default",
        "memory": fit.as_json() if fit else None,
        "needs": fit.describe() if fit else None,
        **_steps_of(recipe),
    }
    try:
        checked = check_dataset(folder, name, place.base_model, _later_stages(place, recipe))
    except DatasetError as error:
        told = {"faults": error.every, "warnings": error.warnings}
        report = {"dataset": name, **judged, **{kind: [str(item) for item in items] for kind, items in told.items()}}
        return report, error, error.warnings
    passes = round(count_passes(checked.recipe, len(checked.images)), 1)
    return {**checked.as_json(), **judged, "passes": passes, "faults": []}, None, checked.warnings


def _show(report: dict[str, Any], warnings: list[str]) -> None:
    over = f"{report['base_model']} (of {report['base_model_of']})"
    if report["faults"]:
        print_line(f"not fit to train; judged over {over}" if report["base_model"] else "not fit to train")
    else:
        trigger = f", trigger {report['trigger']!r}" if report["trigger"] else ""
        print_line(f"{report['pairs']} pairs, {report['kind']}{trigger}: fit to train on {over}")
    if report["needs"]:
        print_line(report["needs"])
    if not report["faults"]:
        steps, warmup = report["optimizer_steps"], report["warmup_steps"]
        shown = f"{steps:,} optimizer steps, {warmup:,} of them warm-up ({warmup / steps:.0%})"
        print_line(f"{shown}; each picture is seen {report['passes']:g} times")
    for line in warnings:
        print_line(f"warning: {line}")


def register(dataset: typer.Typer) -> None:
    """Add the commands to the `dataset` group."""

    @dataset.command()
    def check(folder: Path, data: DataOption = None, as_json: JsonOption = False) -> None:
        """Check a training dataset: every fault at once, or that it is fit to train on.

        It is judged by the data directory that it lies in, or by the one that is named.
        """
        from sq_pipeline.training.preflight.like_faults import group_faults

        report, error, warnings = _check(folder, data)
        if as_json:
            print_json(report)
        else:
            _show(report, [str(warning) for warning in group_faults(warnings)])
        if error is not None:
            raise error

    @dataset.command(name="import")
    def import_(source: Path, out: Path, as_json: JsonOption = False) -> None:
        """Copy another trainer's dataset into a new folder as one of ours; says what it left.

        Reads folders of repeats (10_name), metadata.jsonl and .csv, and captions in .caption, .json and .png.txt files.
        """
        from sq_pipeline.training.import_dataset import import_dataset

        made = import_dataset(source, out)
        if as_json:
            print_json({"dataset": str(out), "pairs": made.pairs, "recipe": made.recipe, "left": list(made.left)})
            return
        print_line(f"{made.pairs} pairs in {out}; {command('dataset check', out)} checks them")
        for line in made.left:
            print_line(f"left: {line}")
