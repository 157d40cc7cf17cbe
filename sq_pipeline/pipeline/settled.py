"""Worlds found complete, remembered: the next look at one costs a few lookups instead of the status of all it shows.

What is remembered falls with the key (everything its places depend on), with anything made for the world since (the
store forgets it then), and with a file that is gone. Not here: the status (`worlds.world_status`).
"""

import os
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import SqPipelineError, StorageError
from sq_pipeline.common.stat_cache import code_stamp
from sq_pipeline.common.tiers import Tier, published_key
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import world_key
from sq_pipeline.pipeline.worlds.images import holds
from sq_pipeline.pipeline.worlds.stack import stack_step_of
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_folder


def _key(context: Context, world: World, tier: Tier) -> str | None:
    """What the tier's pictures depend on now; None where that is not known or its stack is to be made."""
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
    return f"{code_stamp()} {hashed}"


def _owner(world: World, tier: Tier) -> str:
    return world_folder(world) if tier == "landscape" else f"{world_folder(world)}:{tier}"


def count_settled(context: Context, world: World, tier: Tier) -> int | None:
    """How many assets the tier of the world has, all of them fresh; None when only its status can tell."""
    key = _key(context, world, tier)
    found: dict[str, Any] | None = context.store.read_settled(_owner(world, tier), key) if key else None
    if found is None:
        return None
    published = context.remember(("published", world.genre), lambda: context.store.read_published(world.genre))
    if any(published.get(published_key(tier, slug)) != wanted for slug, _, wanted in found["published"]):
        return None
    if not context.store.are_there(found["objects"]):
        return None
    images = _folder(context, world, tier)
    return found["fresh"] if all(_stamp(images, slug) == stamp for slug, stamp, _ in found["published"]) else None


def _folder(context: Context, world: World, tier: Tier) -> str:
    return str(context.data.published_image(world.genre, tier, "x").parent)


def _stamp(images: str, slug: str) -> str | None:
    """What tells that a published picture was touched; None where it is gone."""
    try:
        # plain strings: a large game has tens of thousands of them
        found = os.lstat(f"{images}/{slug}.png")
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def settle(context: Context, state: WorldState) -> None:
    """Remember a world that is fresh as a whole; does nothing for another, or where the disk refuses."""
    steps = state.steps()
    if any(step.status != "fresh" or step.record is None for step in steps):
        return
    key = _key(context, state.world, state.tier)
    if key is None:
        return
    records = [step.record for step in steps if step.record is not None]
    objects = {stored.name: stored.byte_count for record in records for stored in record.objects.values()}
    images = _folder(context, state.world, state.tier)
    published = [(slug, _stamp(images, slug), step.fingerprint) for slug, step in state.pictures.items()]
    # after the stamps: what was touched since the look at it must not be remembered as looked at
    if not all(
        holds(context, Path(images, f"{slug}.png"), step.record) for slug, step in state.pictures.items() if step.record
    ):
        return
    value = {"fresh": len(steps), "objects": list(objects.items()), "published": published}
    try:
        context.store.write_settled(_owner(state.world, state.tier), key, value)
    except StorageError:
        return  # it only saves time
