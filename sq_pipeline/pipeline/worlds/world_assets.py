"""The kinds of assets of a tier of a world, in the order of their making: a new one is a file, and a line."""

from collections.abc import Mapping
from itertools import groupby

from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.worlds import gallery, images, prompts, stack
from sq_pipeline.pipeline.worlds.world_asset import WorldAsset

_ALL = (stack.ASSET, prompts.ASSET, images.ASSET, gallery.ASSET)

WORLD_ASSETS: Mapping[str, WorldAsset] = {asset.part: asset for asset in _ALL}

# What one step of a run makes: all kinds by subject in one, with the model loaded once.
STEPS: tuple[tuple[WorldAsset, ...], ...] = tuple(
    tuple(group) for _, group in groupby(_ALL, key=lambda asset: asset.part if not asset.is_by_subject else "")
)


def steps_of(world: World, tier: Tier) -> tuple[tuple[WorldAsset, ...], ...]:
    """Those that a tier of this world has; one that shows nothing, as far as is known, has only its stack."""
    return STEPS if world.subjects.get(tier) or tier in world.faulty_tiers else STEPS[:1]
