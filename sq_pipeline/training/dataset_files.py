"""Reading a training dataset's folder: its recipe and its pairs. Not here: judging them (`training.dataset`)."""

from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.common.strict_yaml import load_mapping, validate
from sq_pipeline.training.recipe import Recipe

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
RECIPE_FILE = "lora.yaml"


@dataclass(frozen=True)
class FolderListing:
    """A dataset folder's files, sorted by name: images, captions, and what is neither."""

    images: tuple[Path, ...]
    captions: tuple[Path, ...]
    others: tuple[Path, ...]


def read_recipe(folder: Path, name: str) -> Recipe:
    """The folder's `lora.yaml`, defaults where there is none. Raises DatasetError or ContentError."""
    path = folder / RECIPE_FILE
    if not path.exists():
        return Recipe()
    file = f"{name}/{RECIPE_FILE}"
    return validate(Recipe, load_mapping(path, file), file, DatasetError)


def list_folder(folder: Path, name: str) -> FolderListing:
    """What lies in the folder; raises DatasetError where it is missing. Hidden files are left out."""
    if not folder.is_dir():
        raise DatasetError(Fault(name, "", "there is no such folder", "make it, with images and .txt captions"))
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != RECIPE_FILE)
    images = tuple(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    captions = tuple(path for path in files if path.suffix.lower() == ".txt")
    taken = {*images, *captions}
    return FolderListing(images, captions, tuple(path for path in files if path not in taken))
