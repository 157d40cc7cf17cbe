"""Where the pictures come from that an adapter's style is held against: its dataset, or a folder that a person names.

Not here: what is measured on them (`verification.measures`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel, SizePx, training_base_of
from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import Steps, made
from sq_pipeline.pipeline.adapters.facts import base_model_for, dataset_label, recipe_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.training.dataset import read_captions
from sq_pipeline.training.dataset_files import list_as_told, read_recipe, stem_of
from sq_pipeline.training.pictures.fitted import read_fitted
from sq_pipeline.training.pictures.seen import upright_size
from sq_pipeline.training.plan import crops_of
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.validation_split import validation_indices
from sq_pipeline.verification.measures.features import Pixels
from sq_pipeline.verification.reference import MOST_PICTURES, Reference

_LOSS_PICTURES = 8  # of a folder whose recipe says nothing


def reference_of(context: Context, adapter: Adapter, steps: Steps) -> Reference | None:
    """An adapter's own dataset, as it was checked; None for an adapter from elsewhere."""
    if adapter.dataset is None:
        return None
    folder = context.data.datasets_root / adapter.dataset
    index = context.store.read_text(made(steps, "training_dataset").objects["index"])
    pairs = [json.loads(line) for line in index.splitlines()]
    paths, captions = [folder / pair["image"] for pair in pairs], [str(pair["prompt"]) for pair in pairs]
    return _reference(
        dataset_label(adapter), paths, captions, recipe_of(context, adapter), base_model_for(context, adapter)
    )


def reference_folder(folder: Path, base_model: BaseModel) -> Reference:
    """A folder of pictures, with captions and a recipe or without; what cannot be read as a picture is told.

    Raises DatasetError where there is no folder, or no picture in it; ContentError for a broken recipe.
    """
    name = folder.name or str(folder)
    listing, recipe = list_as_told(folder, name), read_recipe(folder, name)
    caption_of = {Path(file).stem: text for file, text in read_captions(folder, name)}
    paths: list[Path] = []
    notes: list[str] = []
    for path in listing.images:
        try:
            upright_size(path)
        except DatasetError as error:
            notes += [f"{name}/{path.name}: {fault.problem}" for fault in error.faults]
        else:
            paths.append(path)
    if others := [path.name for path in listing.others if path.is_file()]:
        notes.append(f"{name}: {len(others)} files are no pictures and were not looked at ({', '.join(others[:3])})")
    if not paths:
        raise DatasetError(Fault(str(folder), "", "holds no picture", "put the pictures themselves into the folder"))
    captions = [caption_of.get(stem_of(path), "") for path in paths]
    has_recipe = (folder / "lora.yaml").is_file()
    return _reference(name, paths, captions, recipe, base_model, has_recipe=has_recipe, notes=notes)


def _reference(
    label: str,
    paths: Sequence[Path],
    captions: Sequence[str],
    recipe: Recipe,
    base_model: BaseModel,
    *,
    has_recipe: bool = True,
    notes: Sequence[str] = (),
) -> Reference:
    size = crops_of(recipe, training_base_of(base_model).training_size).resolution
    wanted = recipe.held_out_pairs if has_recipe else _LOSS_PICTURES
    held_out = validation_indices(len(paths), wanted)
    if not has_recipe and not held_out:
        held_out = tuple(range(len(paths)))
    count = min(len(paths), MOST_PICTURES)
    chosen = [paths[step * len(paths) // count] for step in range(count)]  # evenly spread
    remembered: dict[SizePx, tuple[Pixels, ...]] = {}

    def look(at: SizePx) -> tuple[Pixels, ...]:
        if at not in remembered:
            remembered[at] = tuple(read_fitted(path, at, recipe.background) for path in chosen)
        return remembered[at]

    return Reference(
        label=label,
        pictures=tuple(paths),
        captions=tuple(captions),
        held_out=held_out,
        loss_size=size,
        guidance=recipe.guidance,
        read=look,
        background=recipe.background,
        is_style=recipe.kind == "style",
        trigger_is_required=recipe.trigger_required,
        modules=recipe.modules if has_recipe else None,
        notes=tuple(notes),
    )
