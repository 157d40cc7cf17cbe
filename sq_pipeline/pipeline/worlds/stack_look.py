"""Looking at a stack of several adapters: what that is made from, and doing it. What it finds: `verification`."""

from collections.abc import Iterable, Sequence
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import canonical_json, fingerprint
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.content.stacks import stack_for, triggers_of
from sq_pipeline.pipeline.adapters.facts import verify_prompts_for
from sq_pipeline.pipeline.adapters.gate_settings import limits_of_tier
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import Inputs, checked_stack_inputs, stack_inputs, unchecked_stack_inputs
from sq_pipeline.pipeline.kept_pictures import KeptPictures
from sq_pipeline.pipeline.store import StoredObject
from sq_pipeline.pipeline.worlds.world_state import AppliedEntry, WorldState
from sq_pipeline.verification.gate_limits import Limits
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.stack_check import (
    StackReport,
    StackRequest,
    check_stack,
    draw_stack_sheet,
    prompts_of_stack,
    sets_of_stack,
)

CHECK = "check"  # the name of the verdict in a record's info
FEWEST = 2  # adapters that can be in each other's way


def is_for_several(world: World, tier: Tier) -> bool:
    """True where a tier's pictures are made with adapters that can be in each other's way."""
    return len(stack_for(world, tier)) >= FEWEST and bool(world.subjects.get(tier))


def pictures_at_most(context: Context, states: Iterable[WorldState]) -> int:
    """How many pictures the looks at these worlds' stacks render, where they are to be looked at; equal ones once."""
    wanted: dict[tuple[Any, ...], int] = {}
    for state in states:
        stack = stack_for(state.world, state.tier)
        is_to_do = state.stack.status == "pending" or (state.stack.is_to_do and is_looked_at(state.stack.inputs))
        if not is_to_do or state.stack.record is not None or not is_for_several(state.world, state.tier):
            continue
        try:
            prompts = prompts_of_stack(len(verify_prompts_for(context, state.tier).prompts), len(stack))
        except SqPipelineError:
            continue  # it is not looked at without
        key = (context.base_model_of_world(state.world).name, state.tier, state.world.genre, stack)
        wanted[key] = prompts * sets_of_stack(len(stack))
    return sum(wanted.values())


def inputs_of(context: Context, world: World, tier: Tier, asset: str, entries: Sequence[AppliedEntry]) -> Inputs:
    """What a stack is made from. One that was settled before stacks were looked at stands, until anything changes."""
    versions = [(entry.record.data_version, entry.lora_scale) for entry in entries]
    plain = stack_inputs(versions)
    if not is_for_several(world, tier):
        return plain
    is_asked = context.settings.thresholds.overrides_for(tier).stack_shown is not None
    if not is_asked and context.store.read_current_fingerprint(asset) == fingerprint(plain):
        return plain
    try:
        base_model = context.base_model_of_world(world)
        return checked_stack_inputs(
            versions,
            _word(world, tier),
            _asked(verify_prompts_for(context, tier), len(entries)),
            _limit_values(limits_of_tier(context, base_model, tier)),
            base_model,
            context.weights_hash(base_model),
            tier,
            context.engines.renderer_versions,
        )
    except SqPipelineError:
        return unchecked_stack_inputs(versions)  # what cannot be had stops pictures or verifications, and is told there


def is_looked_at(inputs: Inputs) -> bool:
    """True for the inputs of a stack that is looked at."""
    return inputs.get("check") is not None


def look_at(
    context: Context, world: World, tier: Tier, entries: Sequence[AppliedEntry]
) -> tuple[dict[str, Any], dict[str, StoredObject]]:
    """The verdict as plain values, and the sheet of pictures. Raises RenderError."""
    base_model = context.base_model_of_world(world)
    request = StackRequest(
        stack=world.key,
        members={
            entry.name: AdapterUse(context.adapter_file(entry.record.objects["adapter"]), entry.lora_scale, entry.name)
            for entry in entries
        },
        word=_word(world, tier),
        base_model=base_model,
        tier=tier,
        prompts=verify_prompts_for(context, tier),
        limits=limits_of_tier(context, base_model, tier),
    )
    report: StackReport = check_stack(request, KeptPictures(context, context.engines.renderer(), keeps_styled=True))
    objects = {
        "sheet": context.store.put_bytes(draw_stack_sheet(report), ".png"),
        "report_json": context.store.put_bytes(canonical_json(report.as_json()).encode(), ".json"),
    }
    return {CHECK: report.as_json()}, objects


def _asked(prompts: VerifyPrompts, members: int) -> list[list[Any]]:
    """The prompts that it is looked at with, and their seeds."""
    return [[item.prompt, item.seed] for item in prompts.prompts[: prompts_of_stack(len(prompts.prompts), members)]]


def _word(world: World, tier: Tier) -> str:
    return ", ".join(triggers_of(stack_for(world, tier)))


def _limit_values(limits: Limits) -> dict[str, Any]:
    return {
        "subject_kept": [limits.of("subject_kept").limit, limits.reason("subject_kept")],
        "stack_shown": [limits.of_stack().limit, limits.reason_of_stack()],
    }
