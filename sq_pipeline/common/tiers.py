"""The tiers, the kinds of pictures: what each is called where. Not here: what a tier is rendered with (`base_models`).

Landscapes were here first: their assets and pictures have no tier in their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from sq_pipeline.common.errors import Fault, SelectionError

Tier = Literal["landscape", "portrait", "creature", "scene"]


TIERS: tuple[Tier, ...] = get_args(Tier)


@dataclass(frozen=True)
class TierNames:
    """`noun`: what such a picture is of. `style_key`: the tier's suffix in `visual_style.yaml`.

    `folder`: where the game finds its pictures, in `images/`. The others are the last parts of asset keys.
    """

    noun: str
    style_key: str
    folder: str
    stack: str
    prompts: str
    images: str
    gallery: str


def _names(tier: Tier) -> TierNames:
    if tier == "landscape":
        return TierNames("place", "poi_style", "poi", "stack", "prompts", "poi_images", "gallery")
    noun = "person" if tier == "portrait" else tier
    parts = (f"{tier}_{part}" for part in ("stack", "prompts", "images", "gallery"))
    return TierNames(noun, f"{tier}_style", tier, *parts)


TIER_NAMES: Mapping[Tier, TierNames] = {tier: _names(tier) for tier in TIERS}


def find_tier(name: str) -> Tier | None:
    """The tier of that name; None for any other name."""
    return next((tier for tier in TIERS if tier == name), None)


def select_tiers(tier: str | None) -> tuple[Tier, ...]:
    """The tier that is meant, or all; raises SelectionError for one that is not known."""
    if tier is None:
        return TIERS
    found = find_tier(tier)
    if found is None:
        raise SelectionError(Fault("", "--tier", f"there is no tier {tier!r}", f"use one of {', '.join(TIERS)}"))
    return (found,)


def shown_tier(tier: str) -> Tier:
    """The tier itself; `landscape` for one that no pictures are made of, which an adapter may be for all the same."""
    return find_tier(tier) or "landscape"


def published_key(tier: Tier, slug: str) -> str:
    """Under what name the store remembers which picture the game has: the slug of a place, else `<tier>/<slug>`."""
    return slug if tier == "landscape" else f"{tier}/{slug}"
