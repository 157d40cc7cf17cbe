"""Pictures of places that are gone from the YAML: moved beside the game's pictures, never deleted.

A picture of ours says in its metadata which place it shows. Anything else in the folder is left alone, and so is all
of a genre with a world that cannot be read: its places may only seem to be gone.
"""

import os
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sq_pipeline.core.content import Catalog
from sq_pipeline.core.fingerprints import hash_file, short
from sq_pipeline.storage.atomic import disk_error
from sq_pipeline.storage.layout import DataDir


def archive_removed_places(data: DataDir, catalog: Catalog) -> list[str]:
    """Move the pictures of removed places to `images/archive/`; returns their new paths. Raises StorageError."""
    moved: list[str] = []
    wanted: dict[str, set[str]] = {}
    for world in catalog.worlds.values():
        wanted.setdefault(world.genre, set()).update(poi.slug for poi in world.pois)
    faulty = {key.partition("/")[0] for key in catalog.faults}
    for genre in sorted(wanted.keys() - faulty):
        folder = data.published_image(genre, "poi", "x").parent
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".png") and not entry.name.startswith(".")]
        for name in sorted(names):
            if name.removesuffix(".png") not in wanted[genre] and _is_ours(folder / name):
                moved.append(data.relative(_archive(folder / name)))
    return moved


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
        if target.exists() and hash_file(target) != (digest := hash_file(picture)):
            target = archive / f"{picture.stem}.{short(digest, 8)}.png"
        picture.replace(target)
    except OSError as error:
        raise disk_error(target, error) from error
    return target
