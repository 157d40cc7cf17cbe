"""Making the assets of a tier of a world. What each kind does: a file each, see `world_assets`."""

from collections.abc import Collection, Iterator

from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.world_asset import Failed, Made, Part
from sq_pipeline.pipeline.worlds.world_assets import WORLD_ASSETS
from sq_pipeline.pipeline.worlds.world_status import world_state_of


def make_world_asset(
    context: Context, world: World, tier: Tier, part: Part, slugs: Collection[str] = ()
) -> Iterator[Made | Failed]:
    """Those of these slugs, one by one, as they are made; of a kind that is not by subject the one there is.

    Raises what a kind that is not by subject raises: RenderError where it cannot be made.
    """
    yield from WORLD_ASSETS[part].make(context, world_state_of(context, world, tier), slugs)
