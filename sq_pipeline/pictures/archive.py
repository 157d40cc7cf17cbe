"""Pictures of what is gone from the YAML: moved beside the game's pictures, never deleted.

A picture of ours says in its metadata what it shows. Anything else in the folder is left alone, and so is all of a
genre with a world or a manifest that cannot be read: what it shows may only seem to be gone.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from sq_pipeline.common.archive import archive_place
from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.common.tiers import TIERS
from sq_pipeline.content.records import Catalog
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import PLACE


def shown_keys(catalog: Catalog, paths: PicturePaths) -> dict[str, set[str]]:
    """By genre, under what names the store knows the pictures of all that is shown, see `PicturePaths.key`.

    Only genres that can be read whole.
    """
    shown: dict[str, set[str]] = {}
    faulty = {key.partition("/")[0] for key in catalog.faults}
    for world in catalog.worlds.values():
        keys = shown.setdefault(world.genre, set())
        keys |= {paths.key(world.name, tier, item.slug) for tier, found in world.subjects.items() for item in found}
    return {genre: keys for genre, keys in sorted(shown.items()) if genre not in faulty}


def draft_places(data: DataDir, catalog: Catalog, genre: str, paths: PicturePaths) -> set[Path]:
    """Where the genre's drafts would be published."""
    return {
        paths.path(data, genre, world.name, tier, item.slug)
        for world in catalog.worlds.values()
        if world.genre == genre
        for tier, found in world.drafts.items()
        for item in found
    }


def archive_removed(
    data: DataDir, genre: str, paths: PicturePaths, shown: Iterable[str], also: Iterable[str]
) -> dict[Path, str]:
    """Move the genre's pictures that are not `shown` to `images/archive/`; returns their new paths by the old ones.

    `shown`, and `also` whose folders are looked into too, are names that the store has. Raises StorageError.
    """
    wanted = {paths.path_of_key(data, genre, key) for key in shown}
    given = {paths.path_of_key(data, genre, key) for key in also}
    folders = {path.parent for path in wanted | given}
    folders |= {data.published_image(genre, tier, "x").parent for tier in TIERS}
    archive = data.genre_root(genre) / "images/archive"

    def is_ours(path: Path, place: str) -> bool:
        """True where we put a picture of this `genre/world/slug`: a copy under another name is a person's."""
        _, world, slug = place.split("/") if place.count("/") == 2 else ("", "", "")
        published = {each.path(data, genre, world, tier, slug) for each in (paths, PicturePaths()) for tier in TIERS}
        return bool(slug) and (path in published or (path in given and slug in path.stem))

    return {
        path: data.relative(_archive(path, archive))
        for folder in sorted(folders - {archive})
        for path in _pictures_in(folder)
        if path not in wanted and is_ours(path, _place_of(path))
    }


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".png") and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _place_of(path: Path) -> str:
    """What a picture of ours says it shows; empty for any other file."""
    try:
        return read_png(path, PLACE).texts.get(PLACE, "")
    except PictureError:
        return ""


def _archive(picture: Path, archive: Path) -> Path:
    """Into `archive/<slug>.png`, or beside another picture there under its hash too."""
    target = archive / picture.name
    try:
        archive.mkdir(parents=True, exist_ok=True)
        target = archive_place(picture, archive, hash_file(picture), picture.name)
        picture.replace(target)
    except OSError as error:
        raise disk_error(target, error) from error
    return target
