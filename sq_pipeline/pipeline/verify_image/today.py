"""What would be made of a picture's place now, held against the picture. Not here: the picture itself (`image`)."""

from collections.abc import Mapping
from typing import Any

from sq_pipeline.common.tiers import find_tier
from sq_pipeline.content.records import World
from sq_pipeline.pictures.checks import Check
from sq_pipeline.pictures.provenance import AdoptedProvenance, Provenance
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.worlds.world_state import KeptPicture
from sq_pipeline.pipeline.worlds.world_status import world_state_of

_NAME = "what would be made now"


def check_today(
    context: Context, said: Provenance | AdoptedProvenance, file_sha256: str, inputs: Mapping[str, Any] | None
) -> Check:
    """`inputs`: those that the picture was rendered from, or painted over; None where it tells of none."""
    key = f"{said.genre}/{said.world}"
    world = context.catalog.worlds.get(key)
    if world is None:
        return Check(_NAME, "moved on", f"there is no world {key} here")
    tier = find_tier(said.tier)
    if tier is None:
        return Check(_NAME, "cannot be told", f"no pictures are made of the tier {said.tier}")
    if unclear := world.choices.faults_of(tier, said.slug):
        return Check(_NAME, "cannot be told", "; ".join(map(str, unclear)))
    state = world_state_of(context, world, tier)
    step = state.pictures.get(said.slug)
    if step is None:
        return _not_shown(world, said)
    if (kept := state.kept.get(said.slug)) is not None:
        return _kept(kept, step, said, file_sha256)
    if not step.inputs:
        return Check(_NAME, "cannot be told", "; ".join(step.reasons) or "something before it is to be made first")
    if isinstance(said, AdoptedProvenance):
        return Check(_NAME, "moved on", "it is rendered: nobody keeps a file there any more")
    changes = explain_change(inputs or {}, step.inputs)
    return Check(_NAME, "moved on" if changes else "agrees", "; ".join(changes) or "this very picture")


def _not_shown(world: World, said: Provenance | AdoptedProvenance) -> Check:
    if world.faults:
        return Check(_NAME, "cannot be told", "; ".join(map(str, world.faults)))
    return Check(_NAME, "moved on", f"{world.key} shows no {said.tier} {said.slug}")


def _kept(kept: KeptPicture, step: Step, said: Provenance | AdoptedProvenance, file_sha256: str) -> Check:
    """Of a place where a person keeps a file: this one, or another."""
    told = f"kept: {kept.choice.describe}"
    is_same = step.record is not None and step.record.data_version == said.pixels
    if not (is_same or kept.choice.file_sha256 == file_sha256):
        return Check(_NAME, "moved on", f"another picture is {told}")
    because = f"; would be made again because {'; '.join(kept.otherwise)}" if kept.otherwise else ""
    return Check(_NAME, "agrees", told + because)
