"""All that can be found of one picture: what the game has, what the store made of it once, archived files, takes.

Reads only. Not here: which of them is to be the picture (a person's choice).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.archive import versions_of
from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import World
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import PLACE, PROVENANCE, read_provenance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_state import world_asset

_TAKE = re.compile(r"take-(\d{1,10})\.png")


@dataclass(frozen=True)
class PictureVersion:
    """One version. `record` None: a file that the store knows nothing of. `made_at_ns`: when it became the picture."""

    path: Path
    sha256: str
    record: Record | None = None
    made_at_ns: int = 0
    is_in_game: bool = False
    is_archived: bool = False


@dataclass(frozen=True)
class TakeFile:
    """A take as it lies where a person looks; `seed` None for one that does not say."""

    number: int
    path: Path
    seed: int | None


def picture_versions(context: Context, world: World, tier: Tier, slug: str) -> list[PictureVersion]:
    """What the game has, then what the store has of it, the latest first, then archived files; each hash once."""
    place = context.picture_place(world, tier, slug)
    records = {record.objects["picture"].sha256: record for record in _records(context, world, tier, slug)}
    asset = world_asset(world, TIER_NAMES[tier].images, slug)
    found: dict[str, PictureVersion] = {}
    for path in versions_of(place, context.data.genre_root(world.genre) / "images/archive"):
        if path.is_symlink() or not path.is_file():
            continue
        is_in_game = path == place
        if not is_in_game and not _is_of(path, world, tier, slug):
            continue
        sha256 = context.files.hash_of(path)
        record = records.get(sha256)
        version = PictureVersion(path, sha256, record, _made_at(context, record, asset), is_in_game, not is_in_game)
        found.setdefault(sha256, version)
    for sha256, record in records.items():
        stored = record.objects["picture"]
        if sha256 not in found and context.store.stamp_of(stored.name) is not None:
            made_at = _made_at(context, record, asset)
            if made_at:  # otherwise a take: nobody has taken it yet
                found[sha256] = PictureVersion(context.store.path_of(stored), sha256, record, made_at)
    return sorted(found.values(), key=lambda version: (not version.is_in_game, -version.made_at_ns, version.sha256))


def take_files(context: Context, world: World, tier: Tier, slug: str) -> list[TakeFile]:
    """The takes that were put where a person can look, by their numbers."""
    folder = context.data.takes_root / world.genre / world.name / tier / slug
    names = sorted(folder.glob("take-*.png")) if folder.is_dir() else []
    found = [
        TakeFile(int(match[1]), path, _said(path).get("seed"))
        for path in names
        if (match := _TAKE.fullmatch(path.name)) and path.is_file()
    ]
    return sorted(found, key=lambda take: take.number)


def _records(context: Context, world: World, tier: Tier, slug: str) -> Iterator[Record]:
    places: dict[tuple[str, ...], list[str]] = context.remember("pictures by place", context.store.find_pictures)
    for made_of in places.get((world.genre, world.name, tier, slug), ()):
        record = context.store.read_known("picture", made_of)
        if record is not None and "picture" in record.objects:
            yield record


def _made_at(context: Context, record: Record | None, asset: str) -> int:
    if record is None:
        return 0
    return context.store.read_claims(record.kind, record.fingerprint).get(f"current {asset}", 0)


def _is_of(path: Path, world: World, tier: Tier, slug: str) -> bool:
    """True for an archived file of this picture: it says so, or says nothing and has its name and a hash."""
    said = _said(path)
    if said:
        return [said.get(key) for key in ("genre", "world", "tier", "slug")] == [world.genre, world.name, tier, slug]
    rest = path.stem.removeprefix(slug)
    with suppress(OSError):
        return rest == "" or hash_file(path).removeprefix("sha256:").startswith(rest.removeprefix("."))
    return False


def _said(path: Path) -> dict[str, Any]:
    """What a picture of ours says of itself; nothing for any other file."""
    try:
        texts = read_png(path, "sq.").texts
        if PROVENANCE in texts and PLACE in texts:
            return read_provenance(texts, path.name)[0].model_dump(mode="json")
    except PictureError:
        pass
    return {}
