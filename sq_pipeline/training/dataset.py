"""Preflight: is this folder fit to train on? Every fault at once, and the dataset's fingerprint when it is."""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, SizePx, resolve_base_model
from sq_pipeline.base_models.flux_modules import modules_of, pattern_faults
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import ContentError, DatasetError, Fault
from sq_pipeline.common.fingerprints import fingerprint, hash_bytes, hash_file
from sq_pipeline.training.buckets import choose_bucket, training_sizes
from sq_pipeline.training.dataset_files import FolderListing, list_folder, read_recipe
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe, recipe_values

_RGB_READY = {"RGB", "RGBA", "P", "L", "LA", "CMYK", "YCbCr", "1"}
# how Pillow names the file's own layout where it cuts 16 bits a channel down to 8 without a word
_DEEP_LAYOUT = re.compile(r"(?:RGB[AXa]?|LA|CMYK);16")


@dataclass(frozen=True)
class DatasetImage:
    """One pair. `name` is the image's file name; the hash is of its size and RGB pixels."""

    name: str
    caption: str
    pixels_hash: str


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
    listing = list_folder(folder, name)
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


def check_dataset(folder: Path, name: str, default_base_model: str) -> TrainingDataset:
    """The preflight. `name` names the folder in errors. Raises DatasetError with every fault found.

    Checked: the folder; the recipe, and that its `modules` exist; pairing both ways; the number of pairs; each image
    decodes whole, converts to RGB and is at least as large as the training resolution; no two show the same pixels;
    captions (style: exactly the trigger; subject: a sentence of its own, with the trigger). A broken recipe hides only
    what depends on it.
    """
    listing = list_folder(folder, name)
    faults: list[Fault] = []
    recipe, base_model = None, None
    try:
        recipe = read_recipe(folder, name)
        base_model = base_model_of(recipe, default_base_model)
    except (DatasetError, ContentError) as error:
        faults += error.faults
    faults += _check_pairing(listing, name)
    if recipe is not None and isinstance(base_model, Flux1Model):
        modules = [module for module, _, _ in modules_of(base_model)]
        faults += pattern_faults(recipe.modules, modules, f"{name}/lora.yaml")
    captions = {path.stem: path for path in listing.captions}
    pairs = [(path, captions[path.stem]) for path in listing.images if path.stem in captions]
    if recipe is not None and len(pairs) < recipe.min_pairs:
        problem = f"{len(pairs)} pairs of image and caption, at least {recipe.min_pairs} are needed"
        faults.append(Fault(name, "", problem, "add pictures, or set `min_pairs` in lora.yaml"))
    notes = [
        Fault(f"{name}/{path.name}", "", "is neither image nor caption", "it is ignored") for path in listing.others
    ]
    images: list[DatasetImage] = []
    # without a recipe and a base model nothing is known of sizes, and any will do
    sizes = training_sizes(recipe, base_model.training_size) if recipe is not None and base_model is not None else ()
    for path, caption_path in pairs:
        checked = _check_image(path, folder, name, sizes)
        caption = _read_caption(caption_path, folder, name)
        faults += [found for found in (checked, caption) if isinstance(found, Fault)]
        if isinstance(checked, str) and isinstance(caption, str):
            images.append(DatasetImage(path.name, caption, checked))
    faults += _check_duplicates(images, name)
    if recipe is not None:
        faults += _check_captions(images, recipe, name)
    if faults or recipe is None or base_model is None:
        raise DatasetError(faults)
    return TrainingDataset(folder, name, recipe, base_model.name, tuple(images), tuple(notes))


def _check_pairing(listing: FolderListing, name: str) -> Iterator[Fault]:
    captions: dict[str, Path] = {}
    for path in listing.captions:
        if path.stem in captions:
            problem = f"captions the same image as {captions[path.stem].name}"
            yield Fault(f"{name}/{path.name}", "", problem, "remove one of the two")
        captions[path.stem] = path
    stems: dict[str, Path] = {}
    for path in listing.images:
        if path.stem not in captions:
            yield Fault(f"{name}/{path.name}", "", "has no caption", f"write {path.stem}.txt")
        if path.stem in stems:
            problem = f"shares its caption with {stems[path.stem].name}"
            yield Fault(f"{name}/{path.name}", "", problem, "rename one of the two")
        stems[path.stem] = path
    for path in listing.captions:
        if path.stem not in stems:
            yield Fault(f"{name}/{path.name}", "", "has no image", "add the image, or remove the caption")


def _misplaced(path: Path, folder: Path, name: str) -> Fault | None:
    """What forbids opening the entry at all: a link out of the folder, a folder, a pipe."""
    file = f"{name}/{path.name}"
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return Fault(file, "", "is a link that leads out of the folder", "put the file itself there")
    if not path.is_file():
        return Fault(file, "", "is not a file", "move it elsewhere")
    return None


def _check_image(path: Path, folder: Path, name: str, sizes: Sequence[SizePx]) -> str | Fault:
    """The hash of the image's RGB pixels, or what is wrong with it. It must be as large as one of `sizes`, if any."""
    misplaced = _misplaced(path, folder, name)
    if misplaced is not None:
        return misplaced
    file = f"{name}/{path.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                is_deep = any(_DEEP_LAYOUT.search(str(tile.args)) for tile in image.tile)
                image.load()
                mode = image.mode
                if is_deep:
                    return Fault(file, "", "has 16 bits a channel, which loses data as RGB", "save it as 8-bit RGB")
                if mode not in _RGB_READY:
                    return Fault(file, "", f"has the mode {mode}, which loses data as RGB", "save it as 8-bit RGB")
                upright = ImageOps.exif_transpose(image).convert("RGB")
                (width, height), pixels = upright.size, upright.tobytes()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Fault(file, "", "is too large to be opened safely", "scale it down")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return Fault(file, "", f"cannot be decoded ({reason})", "save it again as PNG")
    if sizes and choose_bucket(width, height, sizes) is None:
        problem = f"is {width}×{height} pixels, the training resolution is {sizes[0].width_px}×{sizes[0].height_px}"
        return Fault(file, "", problem, "use a larger picture; it is never scaled up")
    return hash_bytes(f"{width}x{height}:".encode() + pixels)


def _read_caption(path: Path, folder: Path, name: str) -> str | Fault:
    """The caption without the space around it, or what is wrong with its file."""
    misplaced = _misplaced(path, folder, name)
    if misplaced is not None:
        return misplaced
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        return Fault(f"{name}/{path.name}", "", "is not UTF-8 text", "save it as UTF-8")
    except OSError as error:
        return Fault(f"{name}/{path.name}", "", f"cannot be read ({error.strerror})", "check the file")


def _check_duplicates(images: list[DatasetImage], name: str) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for image in images:
        if image.pixels_hash in first:
            yield Fault(
                f"{name}/{image.name}", "", f"shows the same pixels as {first[image.pixels_hash]}", "remove one"
            )
        first.setdefault(image.pixels_hash, image.name)


def _check_captions(images: list[DatasetImage], recipe: Recipe, name: str) -> Iterator[Fault]:
    trigger = recipe.trigger
    if trigger is None:
        yield Fault(f"{name}/lora.yaml", "trigger", "is missing", "name the word that wakes the style")
        return
    for image in images:
        file = f"{name}/{Path(image.name).stem}.txt"
        if recipe.kind == "style":
            if image.caption != trigger:
                yield Fault(file, "", f"says {image.caption[:60]!r}", f"a style's caption is exactly {trigger!r}")
        elif not image.caption or image.caption == trigger:
            yield Fault(file, "", "does not describe its picture", "write a sentence about it")
        elif trigger not in image.caption:
            yield Fault(file, "", f"does not contain {trigger!r}", "name the subject by its trigger")
    if recipe.kind == "subject" and len(images) > 1 and len({image.caption for image in images}) == 1:
        yield Fault(name, "", "all captions are equal", "describe each picture for itself")


def base_model_of(recipe: Recipe, default: str) -> BaseModel:
    """The base model that a recipe trains over."""
    return resolve_base_model(recipe.base_model or default)
