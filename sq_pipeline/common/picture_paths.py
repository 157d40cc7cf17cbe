"""Where the game finds its pictures: a template of `sq.yaml`, filled in below a genre's folder.

Not here: who may write there (`pipeline.theirs`).
"""

import string
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.tiers import TIER_NAMES, Tier, find_tier, published_key

DEFAULT_TEMPLATE = "images/{kind}/{slug}.png"
_SPECIMEN = {"kind": "poi", "slug": "mill", "world": "west"}


@dataclass(frozen=True)
class PicturePaths:
    """The paths that a template gives. One that `why_wrong` finds nothing wrong with never leads out of the genre."""

    template: str = DEFAULT_TEMPLATE

    def path(self, data: DataDir, genre: str, world: str, tier: Tier, slug: str) -> Path:
        """Where a picture is published."""
        return data.genre_root(genre) / self._fill(world, tier, slug)

    def key(self, world: str, tier: Tier, slug: str) -> str:
        """Under what name the store remembers which picture the game has there: its path, where a person chose it."""
        return published_key(tier, slug) if self.template == DEFAULT_TEMPLATE else self._fill(world, tier, slug)

    def clash_key(self, world: str, tier: Tier, slug: str) -> str:
        """Equal for paths that are one file somewhere: where case is folded, or an accent is written another way."""
        return unicodedata.normalize("NFC", self._fill(world, tier, slug)).casefold()

    def path_of_key(self, data: DataDir, genre: str, key: str) -> Path:
        """Where the picture was published that the store remembers under this name, by this template or another."""
        if key.endswith(".png"):
            return data.genre_root(genre) / key
        tier, _, slug = key.rpartition("/")
        return data.published_image(genre, find_tier(tier) or "landscape", slug)

    def _fill(self, world: str, tier: Tier, slug: str) -> str:
        return self.template.format(kind=TIER_NAMES[tier].folder, slug=slug, world=world)


def why_wrong(template: str) -> tuple[str, str] | None:
    """What is wrong with a template, and what to do; None where it is fit for use."""
    known = ", ".join(f"{{{name}}}" for name in _SPECIMEN)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"{template!r}: {error}", f"write it as {DEFAULT_TEMPLATE!r} is"
    names = {name for _, name, _, _ in parts if name is not None}
    if strange := sorted(names - _SPECIMEN.keys()):
        return f"{template!r} holds {{{strange[0]}}}", f"it may hold {known}"
    if any(spec or conversion for _, _, spec, conversion in parts):
        return f"{template!r} formats what it holds", f"write only {known}"
    if "slug" not in names:
        return f"{template!r} lacks {{slug}}, so all pictures would have one path", "add {slug}"
    path = PurePosixPath(template.format(**_SPECIMEN))
    is_inside = not path.is_absolute() and ".." not in path.parts and path.as_posix() == template.format(**_SPECIMEN)
    if not is_inside or "\\" in template or ":" in template or not template.isprintable():
        return f"{template!r} is no plain path below the genre's folder", f"write it as {DEFAULT_TEMPLATE!r} is"
    if path.suffix != ".png" or "slug" not in (name for _, name, _, _ in string.Formatter().parse(Path(template).name)):
        return f"{template!r} does not name a picture", "end it in {slug}.png"
    if path.parts[:2] == ("images", "archive"):
        return f"{template!r} is where removed pictures are kept", "take another folder"
    return None
