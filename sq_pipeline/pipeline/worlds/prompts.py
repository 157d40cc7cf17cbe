"""The asset `prompts`: the text and seed that a picture is asked with. How one is put together: `content.prompts`."""

from collections.abc import Collection

from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.stack import _plain_record
from sq_pipeline.pipeline.worlds.world_status import WorldState, world_state_of


def make_prompts(
    context: Context, world: World, tier: Tier, slugs: Collection[str], state: WorldState | None = None
) -> dict[str, Record]:
    """Write the prompts of these subjects; those that cannot be written are left out (their pictures say why).

    `state`: the tier as it stands, where the caller has surveyed it.
    """
    state = state or world_state_of(context, world, tier)
    made: dict[str, Record] = {}
    with context.store.together():
        for slug, step in state.prompts.items():
            if slug in slugs:
                made[slug] = _make_prompt(context, step, state.texts[slug])
    return made


def _make_prompt(context: Context, step: Step, text: Prompt) -> Record:
    if step.record is not None:
        return context.reuse(step, step.record)
    counts = {name: count for name, count in text.counts.as_json().items() if name.endswith("_tokens")}
    info = {**counts, "dropped": list(text.dropped)}
    return context.keep(step, _plain_record(step, info))
