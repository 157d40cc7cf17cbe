"""The pictures that an adapter's style is held against: pairs of a dataset, or a folder that a person names.

Not here: what is measured on them (`verification.measures`).
"""

from collections.abc import Sequence
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel, SizePx, training_base_of
from sq_pipeline.common.errors import DatasetError, Fault
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


def reference_folder(folder: Path, base_model: BaseModel, name: str = "") -> Reference:
    """A folder of pictures, with captions and a recipe or without; what cannot be read as a picture is told.

    `name`: what people call it; otherwise its own.

    Raises DatasetError where there is no folder, or no picture in it; ContentError for a broken recipe.
    """
    where, name = name or str(folder), name or folder.name or str(folder)
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
        raise DatasetError(Fault(where, "", "holds no picture", "put the pictures themselves into the folder"))
    captions = [caption_of.get(stem_of(path), "") for path in paths]
    has_recipe = (folder / "lora.yaml").is_file()
    return as_reference(name, paths, captions, recipe, base_model, has_recipe=has_recipe, notes=notes)


def as_reference(
    label: str,
    paths: Sequence[Path],
    captions: Sequence[str],
    recipe: Recipe,
    base_model: BaseModel,
    *,
    has_recipe: bool = True,
    notes: Sequence[str] = (),
) -> Reference:
    """Pictures with their captions ("" where there is none), as `recipe` trains them; without one nobody knows what was
    trained on, or how.
    """
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
