"""A tier of a world as it stands: stack, prompts, pictures, gallery. What is to do, and why. Makes nothing.

Not here: what the assets are (`world_assets`), making them (`make_world_asset`).
"""

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.worlds.images import without_base_model
from sq_pipeline.pipeline.worlds.world_assets import WORLD_ASSETS
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset


def world_state_of(context: Context, world: World, tier: Tier) -> WorldState:
    """Everything of a tier of a world as it stands; never raises for a fault of its own.

    What a context has found once it remembers, so a second look at a world costs a fraction of the first.
    """
    stack = Step(world_asset(world, TIER_NAMES[tier].stack), "stack", "pending")
    state = WorldState(world, tier, stack, ())
    try:
        for asset in WORLD_ASSETS.values():
            state = asset.enter_status(context, state)
    except SqPipelineError as error:  # of what all pictures are rendered with
        return without_base_model(context, state, tuple(map(str, error.faults)))
    return state
