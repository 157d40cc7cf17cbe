"""Pictures of what is gone from the YAML: moved beside the game's pictures, never deleted.

A picture of ours says in its metadata what it shows. Anything else in the folder is left alone, and so is all of a
genre with a world or a manifest that cannot be read: what it shows may only seem to be gone.
"""

import os
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sq_pipeline.common.archive import archive_place
from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS, published_key
from sq_pipeline.content.records import Catalog


def shown_keys(catalog: Catalog) -> dict[str, set[str]]:
    """By genre, under what names the store knows the pictures of all that is shown, see `published_key`.

    Only genres that can be read whole.
    """
    shown: dict[str, set[str]] = {}
    faulty = {key.partition("/")[0] for key in catalog.faults}
    for world in catalog.worlds.values():
        if world.faulty_tiers:
            faulty.add(world.genre)
        keys = shown.setdefault(world.genre, set())
        keys |= {published_key(tier, subject.slug) for tier, found in world.subjects.items() for subject in found}
    return {genre: keys for genre, keys in sorted(shown.items()) if genre not in faulty}


def archive_removed_places(data: DataDir, catalog: Catalog) -> list[str]:
    """Move the pictures of what was removed to `images/archive/`; returns their new paths. Raises StorageError."""
    return [
        data.relative(_archive(path))
        for genre, keys in shown_keys(catalog).items()
        for tier in TIERS
        for path in _pictures_in(data.published_image(genre, tier, "x").parent)
        if published_key(tier, path.stem) not in keys and _is_ours(path)
    ]


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".png") and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()  # text after the pixels is only read with them
            texts: dict[str, str] = getattr(image, "text", {})
            return texts.get("sq.place", "").endswith(f"/{path.stem}")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
        return False


def _archive(picture: Path) -> Path:
    """Into `archive/<slug>.png`, or beside another picture there under its hash too."""
    archive = picture.parents[1] / "archive"
    target = archive / picture.name
    try:
        archive.mkdir(exist_ok=True)
        target = archive_place(picture, archive, hash_file(picture), picture.name)
        picture.replace(target)
    except OSError as error:
        raise disk_error(target, error) from error
    return target
