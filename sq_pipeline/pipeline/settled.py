"""Worlds found complete, remembered: the next look at one costs a few lookups instead of the status of all it shows.

What is remembered falls with the key (everything its places depend on), with anything made for the world since (the
store forgets it then), and with a file that is gone. Not here: the status (`worlds.world_status`).
"""

from dataclasses import astuple, dataclass
from typing import Any

from sq_pipeline.common.errors import Fault, SqPipelineError, StorageError
from sq_pipeline.common.stat_cache import code_stamp, stamp_text
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import world_key
from sq_pipeline.pipeline.prompt_notes import warnings_of_prompts
from sq_pipeline.pipeline.worlds.images import holds
from sq_pipeline.pipeline.worlds.stack import stack_step_of, warnings_of_stack
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_folder


def settled_key(context: Context, world: World, tier: Tier) -> str | None:
    """A hash of what the tier's pictures depend on now; None where that is not known or its stack is to be made."""
    stack, entries = stack_step_of(context, world, tier)
    if stack.status != "fresh":
        return None
    base_model = context.base_model_of_world(world)
    try:
        weights, settings = context.weights_hash(base_model), context.render_settings(base_model, tier)
    except SqPipelineError:
        return None
    versions = [(entry.record.data_version, entry.lora_scale) for entry in entries]
    hashed = world_key(world.source, versions, base_model, weights, settings, context.engines.renderer_versions)
    told = f"{context.settings.picture_path} {' '.join(sorted(context.settings.ignore_prompt_checks))}"
    return f"{code_stamp()} {hashed} {stack.fingerprint} {told}"


def _owner(world: World, tier: Tier) -> str:
    return world_folder(world) if tier == "landscape" else f"{world_folder(world)}:{tier}"


@dataclass(frozen=True)
class Settled:
    """A tier of a world that is fresh as a whole: how many assets it has, and what is told of its prompts.

    `key` is a hash of all that they depend on.
    """

    world: World
    tier: Tier
    fresh: int
    warnings: tuple[Fault, ...]
    key: str
    locked: tuple[dict[str, Any], ...] = ()


def find_settled(context: Context, world: World, tier: Tier) -> Settled | None:
    """The tier of a world that is fresh as a whole; None when only its status can tell."""
    key = settled_key(context, world, tier)
    found: dict[str, Any] | None = context.store.read_settled(_owner(world, tier), key) if key else None
    if found is None:
        return None
    try:
        warnings = tuple(Fault(*told) for told in found["warnings"])
        locked = tuple(found.get("locked", ()))
        return (
            Settled(world, tier, found["fresh"], warnings, str(key), locked) if _stands(context, world, found) else None
        )
    except (KeyError, TypeError, ValueError):
        return None  # a damaged line of the index


def locked_of(state: WorldState) -> list[dict[str, Any]]:
    """The pictures of a tier of a world that people keep, as a plan tells them."""
    return [
        {
            "asset": state.pictures[slug].asset,
            "act": kept.choice.act,
            "by": kept.choice.by,
            "at": kept.choice.at,
            "why": kept.choice.why,
            "reasons": list(kept.otherwise),
        }
        for slug, kept in state.kept.items()
    ]


def _stands(context: Context, world: World, found: dict[str, Any]) -> bool:
    published = context.remember(("published", world.genre), lambda: context.store.read_published(world.genre))
    if any(published.get(key) != wanted for key, _, _, wanted in found["published"]):
        return False
    if any(context.store.stamp_of(name) != stamp for name, stamp in found["objects"]):
        return False
    root = str(context.data.genre_root(world.genre))
    # plain strings: a large game has tens of thousands of them
    return all(stamp_text(f"{root}/{place}") == stamp for _, place, stamp, _ in found["published"])


def settle(context: Context, state: WorldState) -> None:
    """Remember a world that is fresh as a whole; does nothing for another, or where the disk refuses."""
    steps = state.steps()
    if any(step.status != "fresh" or step.record is None for step in steps):
        return
    key = settled_key(context, state.world, state.tier)
    if key is None:
        return
    records = [step.record for step in steps if step.record is not None]
    objects = {stored.name: stored for record in records for stored in record.objects.values()}
    stamps = [(name, context.store.stamp_of(name)) for name in objects]
    world, tier, root = state.world, state.tier, context.data.genre_root(state.world.genre)
    places = {slug: context.picture_place(world, tier, slug) for slug in state.pictures}
    published = [
        (
            context.picture_key(world, tier, slug),
            place.relative_to(root).as_posix(),
            stamp_text(str(place)),
            step.fingerprint,
        )
        for (slug, step), place in zip(state.pictures.items(), places.values(), strict=True)
    ]
    # after the stamps: what was touched since the look at it must not be remembered as looked at
    if any(map(context.store.why_missing, objects.values())) or not all(
        holds(context, places[slug], step.record) for slug, step in state.pictures.items() if step.record
    ):
        return
    told = [astuple(warning) for warning in (*warnings_of_stack(state), *warnings_of_prompts(context, state))]
    value = {"fresh": len(steps), "objects": stamps, "published": published, "warnings": told}
    value |= {"locked": locked} if (locked := locked_of(state)) else {}
    try:
        context.store.write_settled(_owner(state.world, state.tier), key, value)
    except StorageError:
        return  # it only saves time
