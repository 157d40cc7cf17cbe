"""Preflight: is this folder fit to train on? Every fault at once, and the dataset's fingerprint when it is.

Not here: what is asked of a picture, a caption, a pair (`training.preflight`).
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, resolve_base_model
from sq_pipeline.base_models.flux_modules import modules_of, pattern_faults
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import ContentError, DatasetError, Fault
from sq_pipeline.common.fingerprints import fingerprint, hash_file
from sq_pipeline.training.buckets import training_sizes
from sq_pipeline.training.dataset_files import RECIPE_FILE, list_as_told, read_recipe, stem_of
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.preflight.captions import check_captions, has_own_words, read_caption
from sq_pipeline.training.preflight.later_stages import LaterStages, judge_texts, trainer_faults
from sq_pipeline.training.preflight.like_faults import LikeFault, group_faults
from sq_pipeline.training.preflight.pairs import pair_up
from sq_pipeline.training.preflight.pictures import CheckedPicture, check_picture
from sq_pipeline.training.preflight.recipe_notes import recipe_notes
from sq_pipeline.training.recipe import Recipe, recipe_values


@dataclass(frozen=True)
class DatasetImage:
    """One pair. `name` is the image's file name; the hash is of its size and RGB pixels as they are trained."""

    name: str
    caption: str
    pixels_hash: str
    caption_name: str = ""


@dataclass(frozen=True)
class TrainingDataset:
    """A dataset that passed the preflight. `warnings` are worth a look, and hinder nothing."""

    folder: Path
    name: str
    recipe: Recipe
    base_model: str
    images: tuple[DatasetImage, ...]
    warnings: tuple[Fault, ...]

    @property
    def data_version(self) -> str:
        """`sha256:…` of pixels and captions in the order of training (by file name).

        Names do not count, nor how a file packs its pixels, nor its metadata.
        """
        return fingerprint({"pairs": [[image.pixels_hash, image.caption] for image in self.images]})

    def examples(self) -> tuple[TrainingExample, ...]:
        """The pairs as a trainer takes them."""
        return tuple(TrainingExample(self.folder / image.name, image.caption) for image in self.images)

    def write_index(self, path: Path) -> None:
        """`train.jsonl` as mlx-examples reads it: a `{"image": …, "prompt": …}` a line, paths relative to it."""
        lines = [json.dumps({"image": i.name, "prompt": i.caption}, ensure_ascii=False) for i in self.images]
        write_text(path, "\n".join(lines) + "\n")

    def as_json(self) -> dict[str, Any]:
        """A summary as plain values."""
        return {
            "dataset": self.name,
            "pairs": len(self.images),
            "kind": self.recipe.kind,
            "trigger": self.recipe.trigger,
            "base_model": self.base_model,
            "data_version": self.data_version,
            "warnings": [str(warning) for warning in self.warnings],
        }


def fingerprint_folder(folder: Path, name: str, hash_of: Callable[[Path], str] = hash_file) -> dict[str, Any]:
    """The inputs of a dataset, without decoding anything: each file's hash, by name, and the recipe's values."""
    listing = list_as_told(folder, name)
    files = {path.name: _hash_entry(path, folder, hash_of) for path in (*listing.images, *listing.captions)}
    return {"files": files, "recipe": recipe_values(read_recipe(folder, name))}


def _hash_entry(path: Path, folder: Path, hash_of: Callable[[Path], str]) -> str:
    """The file's hash, or a word for what is never opened; `check_dataset` has the fault for it."""
    if _misplaced(path, folder, "") is not None:
        return "refused"
    try:
        return hash_of(path)
    except OSError:
        return "unreadable"


def check_dataset(
    folder: Path, name: str, default_base_model: str, later: LaterStages | None = None
) -> TrainingDataset:
    """The preflight. `name` names the folder in errors. Raises DatasetError with every fault found.

    With `later`, the stages that follow judge the dataset too.

    Checked: the folder; the recipe, and that its `modules` exist; pairing both ways; the number of pairs; each image
    decodes whole, is seen in RGB without a loss that nobody chose, and is at least as large as the training resolution;
    no two show the same pixels; captions (style: the trigger, or what `caption_styles` allow; subject: a
    sentence of its own, with the trigger). A broken recipe hides only what depends on it.
    """
    listing = list_as_told(folder, name)
    faults: list[Fault] = []
    recipe, base_model = None, None
    try:
        recipe = read_recipe(folder, name)
        base_model = base_model_of(recipe, default_base_model)
    except (DatasetError, ContentError) as error:
        faults += error.faults
    pairing = pair_up(listing, folder, name)
    faults += pairing.faults
    notes = list(pairing.notes)
    if recipe is not None and isinstance(base_model, Flux1Model):
        modules = [module for module, _, _ in modules_of(base_model)]
        faults += pattern_faults(recipe.modules, modules, f"{name}/{RECIPE_FILE}")
    is_told = pairing.is_elsewhere or pairing.is_recipe_misnamed
    if recipe is not None and len(pairing.pairs) < recipe.min_pairs and not is_told:
        problem = f"{len(pairing.pairs)} pairs of image and caption, at least {recipe.min_pairs} are needed"
        faults.append(Fault(name, "", problem, f"add pictures, or set `min_pairs` in {RECIPE_FILE}"))
    images: list[DatasetImage] = []
    captions: list[tuple[str, str]] = []
    seen: list[tuple[str, CheckedPicture]] = []
    # without a recipe and a base model nothing is known of sizes, and any will do
    sizes = training_sizes(recipe, base_model.training_size) if recipe is not None and base_model is not None else ()
    for path, caption_path in pairing.pairs:
        file = f"{name}/{path.name}"
        found: list[Fault] = []
        caption = _caption_of(caption_path, folder, name)
        checked: CheckedPicture | Fault | None = _misplaced(path, folder, name)
        try:
            checked = checked or check_picture(path, file, sizes, recipe.background if recipe is not None else "white")
        except DatasetError as error:
            found += error.faults
        found += [item for item in (checked, caption) if isinstance(item, Fault)]
        faults += found
        if isinstance(caption, str):
            captions.append((f"{name}/{caption_path.name}", caption))
        if isinstance(checked, CheckedPicture):
            notes += checked.notes
            seen.append((file, checked))
            if isinstance(caption, str):
                images.append(DatasetImage(path.name, caption, checked.pixels_hash, caption_path.name))
    notes += _odd_ones(seen)
    faults += _check_duplicates(images, name)
    if recipe is not None and not pairing.is_recipe_misnamed:
        faults += _check_captions(images, recipe, name)
        notes += recipe_notes(recipe, f"{name}/{RECIPE_FILE}")
    if later is not None and recipe is not None and base_model is not None:
        too_long, cut = judge_texts(recipe, base_model, captions, name, later)
        faults += too_long
        notes += cut
        faults += trainer_faults(recipe, base_model, [text for _, text in captions], name, later)
    if faults or recipe is None or base_model is None:
        raise DatasetError(group_faults(faults), faults, notes)
    return TrainingDataset(folder, name, recipe, base_model.name, tuple(images), tuple(notes))


def read_captions(folder: Path, name: str) -> list[tuple[str, str]]:
    """The captions that can be read, each with its file. Decodes no picture; raises DatasetError without a folder."""
    listing = list_as_told(folder, name)
    stems = {stem_of(path) for path in listing.images}
    found = ((path, _caption_of(path, folder, name)) for path in listing.captions if stem_of(path) in stems)
    return [(f"{name}/{path.name}", caption) for path, caption in found if isinstance(caption, str)]


def _misplaced(path: Path, folder: Path, name: str) -> Fault | None:
    """What forbids opening the entry at all: a link out of the folder, a folder, a pipe."""
    file = f"{name}/{path.name}"
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return Fault(file, "", "is a link that leads out of the folder", "put the file itself there")
    if not path.is_file():
        return Fault(file, "", "is not a file", "move it elsewhere")
    return None


def _caption_of(path: Path, folder: Path, name: str) -> str | Fault:
    return _misplaced(path, folder, name) or read_caption(path, f"{name}/{path.name}")


def _odd_ones(seen: list[tuple[str, CheckedPicture]]) -> Iterator[Fault]:
    """Grey pictures among those in colour, or the other way round: the fewer ones."""
    shown = [(file, picture.is_grey) for file, picture in seen if not picture.is_flat]
    grey = [file for file, is_grey in shown if is_grey]
    coloured = [file for file, is_grey in shown if not is_grey]
    fewer, more, words = (grey, coloured, "is grey among {} in colour")
    if len(coloured) < len(grey):
        fewer, more, words = (coloured, grey, "is in colour among {} that are grey")
    for file in fewer if more else ():
        yield Fault(file, "", words.format(len(more)), "look whether it belongs here")


def _check_duplicates(images: list[DatasetImage], name: str) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for image in images:
        if image.pixels_hash in first:
            problem = f"shows the same pixels as {first[image.pixels_hash]}"
            yield LikeFault(f"{name}/{image.name}", "", problem, "keep one of them", "shows the same pixels as another")
        first.setdefault(image.pixels_hash, image.name)


def _check_captions(images: list[DatasetImage], recipe: Recipe, name: str) -> Iterator[Fault]:
    trigger = recipe.trigger
    if trigger is None:
        yield Fault(f"{name}/{RECIPE_FILE}", "trigger", "is missing", "name the word that wakes the style")
        return
    captions = [(f"{name}/{image.caption_name or Path(image.name).stem + '.txt'}", image.caption) for image in images]
    yield from check_captions(captions, recipe, trigger)
    own_words = [caption for _, caption in captions if has_own_words(caption, trigger)]
    if recipe.kind == "style" and recipe.shows_sentences and captions and not own_words:
        problem = "asks for sentences, and no caption has words beside the trigger"
        hint = f"write captions such as “{trigger}, a mill at noon”, or leave it out"
        yield Fault(f"{name}/{RECIPE_FILE}", "caption_styles", problem, hint)
    if recipe.kind == "subject" and len(images) > 1 and len({image.caption for image in images}) == 1:
        yield Fault(name, "", "all captions are equal", "describe each picture for itself")


def base_model_of(recipe: Recipe, default: str) -> BaseModel:
    """The base model that a recipe trains over."""
    return resolve_base_model(recipe.base_model or default)
