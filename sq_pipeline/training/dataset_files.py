"""Reading a training dataset's folder: its recipe and its files. Not here: judging them (`training.dataset`)."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from sq_pipeline.common.errors import ContentError, DatasetError, Fault
from sq_pipeline.common.strict_yaml import load_mapping, validate
from sq_pipeline.training.pictures.formats import IMAGE_SUFFIXES, MORE_IMAGE_SUFFIXES
from sq_pipeline.training.pictures.seen import parse_background
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.recipe_keys import hint_for_foreign_key

RECIPE_FILE = "lora.yaml"
CAPTION_SUFFIX = ".txt"
_COLOURS = 'write "#rrggbb" in quotes, such as "#808080", or a name of CSS, such as white'


@dataclass(frozen=True)
class FolderListing:
    """A dataset folder's files, sorted by name: images, captions, and what is neither (folders, too)."""

    images: tuple[Path, ...]
    captions: tuple[Path, ...]
    others: tuple[Path, ...]


def read_recipe(folder: Path, name: str) -> Recipe:
    """The folder's `lora.yaml`, defaults where there is none. Raises DatasetError or ContentError."""
    path = folder / RECIPE_FILE
    if not path.exists():
        return Recipe()
    file = f"{name}/{RECIPE_FILE}"
    values = load_mapping(path, file)
    faults = _background_faults(values, file)
    try:
        recipe = validate(Recipe, {**values, "background": None} if faults else values, file, DatasetError)
    except DatasetError as error:
        raise DatasetError([*(_with_our_key(fault, values) for fault in error.faults), *faults]) from None
    if faults:
        raise DatasetError(faults)
    return recipe


def _with_our_key(fault: Fault, given: Collection[str]) -> Fault:
    """The fault of a key that is another trainer's, with what it is here, and whether that is `given` too."""
    hint = hint_for_foreign_key(fault.field, given) if fault.problem == "unknown key" else None
    return replace(fault, hint=hint) if hint else fault


def _background_faults(values: dict[str, object], file: str) -> list[Fault]:
    if "background" not in values:
        return []
    value = values["background"]
    if value is None:
        return [Fault(file, "background", "is empty: `#` begins a comment where it is not in quotes", _COLOURS)]
    if not isinstance(value, str) or parse_background(value) is None:
        return [Fault(file, "background", f"is {value!r}, which is no colour known here", _COLOURS)]
    return []


def find_misnamed_recipe(folder: Path) -> Path | None:
    """What looks like the recipe under another name, where there is no `lora.yaml`."""
    if (folder / RECIPE_FILE).exists():
        return None
    near = {"lora.yml", "lora.yaml", "lora.yaml.txt", "lora.yml.txt", "lora.json", "recipe.yaml", "recipe.yml"}
    found = [path for path in sorted(folder.iterdir()) if path.name.lower().replace(" ", "") in near]
    return next(iter(found), None)


def stem_of(path: Path) -> str:
    """The name that pairs an image with its caption: composed, as one system writes `é` otherwise than another."""
    return unicodedata.normalize("NFC", path.stem)


def list_folder(folder: Path, name: str, ignore: Sequence[str] = ()) -> FolderListing:
    """What lies in the folder; raises DatasetError where it is missing. Hidden and ignored files are left out."""
    if not folder.is_dir():
        raise DatasetError(Fault(name, "", "there is no such folder", "make it, with images and .txt captions"))
    files = [path for path in sorted(folder.iterdir()) if path.name != RECIPE_FILE and not _is_ignored(path, ignore)]
    captions = tuple(path for path in files if path.suffix.lower() == CAPTION_SUFFIX)
    first = {path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    lone = {stem_of(path) for path in captions} - {stem_of(path) for path in first}
    more = {path for path in files if path.suffix.lower() in MORE_IMAGE_SUFFIXES and stem_of(path) in lone}
    images = tuple(path for path in files if path in first or path in more)
    taken = {*images, *captions}
    return FolderListing(images, captions, tuple(path for path in files if path not in taken))


def list_as_told(folder: Path, name: str) -> FolderListing:
    """The folder as its own recipe says what to ignore; whole where the recipe cannot be read."""
    try:
        ignore = read_recipe(folder, name).ignore
    except (DatasetError, ContentError):
        ignore = ()
    return list_folder(folder, name, ignore)


def _is_ignored(path: Path, ignore: Sequence[str]) -> bool:
    name = unicodedata.normalize("NFC", path.name)
    return name.startswith(".") or any(fnmatchcase(name, unicodedata.normalize("NFC", way)) for way in ignore)
