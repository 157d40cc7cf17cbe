"""Pictures of what is gone from the YAML: moved beside the game's pictures, never deleted.

A picture of ours says in its metadata what it shows. Anything else in the folder is left alone, and so is all of a
genre with a world or a manifest that cannot be read: what it shows may only seem to be gone.
"""

import os
from collections.abc import Collection
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.fingerprints import hash_file, short
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.records import Catalog


def archive_removed_places(data: DataDir, catalog: Catalog) -> list[str]:
    """Move the pictures of what was removed to `images/archive/`; returns their new paths. Raises StorageError."""
    moved: list[str] = []
    wanted: dict[str, dict[Tier, set[str]]] = {}
    for world in catalog.worlds.values():
        shown = wanted.setdefault(world.genre, {tier: set() for tier in TIERS})
        for tier, subjects in world.subjects.items():
            shown[tier].update(subject.slug for subject in subjects)
    faulty = {key.partition("/")[0] for key in catalog.faults}
    faulty |= {world.genre for world in catalog.worlds.values() if world.faulty_tiers}
    for genre in sorted(wanted.keys() - faulty):
        for tier, slugs in wanted[genre].items():
            moved += _archive_all_but(slugs, data.published_image(genre, tier, "x").parent, data)
    return moved


def _archive_all_but(slugs: Collection[str], folder: Path, data: DataDir) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".png") and not entry.name.startswith(".")]
    gone = [folder / name for name in sorted(names) if name.removesuffix(".png") not in slugs]
    return [data.relative(_archive(path)) for path in gone if _is_ours(path)]


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
