"""The takes of a picture that lie where a person can look. Not here: rendering them (`takes`)."""

import re
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.errors import PictureError
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import PLACE, PROVENANCE, read_provenance
from sq_pipeline.pipeline.context import Context

_TAKE = re.compile(r"take-(\d{1,10})\.png")


@dataclass(frozen=True)
class TakeFile:
    """A take as it lies where a person looks; `seed` None for one that does not say."""

    number: int
    path: Path
    seed: int | None


def take_files(context: Context, world: World, tier: Tier, slug: str) -> list[TakeFile]:
    """The takes that were put where a person can look, by their numbers."""
    folder = context.data.takes_root / world.genre / world.name / tier / slug
    names = sorted(folder.glob("take-*.png")) if folder.is_dir() else []
    found = [
        TakeFile(int(match[1]), path, _seed_of(path))
        for path in names
        if (match := _TAKE.fullmatch(path.name)) and path.is_file()
    ]
    return sorted(found, key=lambda take: take.number)


def _seed_of(path: Path) -> int | None:
    try:
        texts = read_png(path, "sq.").texts
        return read_provenance(texts, path.name)[0].seed if PROVENANCE in texts and PLACE in texts else None
    except PictureError:
        return None
