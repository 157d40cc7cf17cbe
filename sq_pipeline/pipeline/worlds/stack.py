"""The asset `stack`: the promoted adapters of a world's tier, in order, with their scales."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import World
from sq_pipeline.content.stacks import lacks_adapter, stack_for
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.facts import promoted_record
from sq_pipeline.pipeline.chain import follow
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import stack_inputs
from sq_pipeline.pipeline.shown import ShownPicture
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.stack_look import CHECK, inputs_of, is_for_several, is_looked_at, look_at
from sq_pipeline.pipeline.worlds.world_asset import Made, WorldAsset
from sq_pipeline.pipeline.worlds.world_state import AppliedEntry, WorldState, world_asset


def stack_step_of(context: Context, world: World, tier: Tier) -> tuple[Step, tuple[AppliedEntry, ...]]:
    """The stack of a tier as it stands, and the promoted adapters in it (none where one is missing)."""
    asset = world_asset(world, TIER_NAMES[tier].stack)
    if reasons := _why_no_stack(context, world, tier):
        return Step(asset, "stack", "blocked", reasons=reasons), ()
    entries: list[AppliedEntry] = []
    missing: list[Step] = []
    for entry in stack_for(world, tier):
        adapter = context.catalog.adapters[f"{world.genre}/{entry.name}"]
        last = adapter_steps_of(context, adapter)["promoted_adapter"]
        record = last.record
        if record is None and not (last.is_to_do and context.looks_ahead):
            record = promoted_record(context, adapter)
        if record is None:
            missing.append(last)
        else:
            entries.append(AppliedEntry(entry.name, entry.lora_scale, record))
    if missing:
        return follow(missing, asset, "stack"), ()
    return context.step(asset, "stack", inputs_of(context, world, tier, asset, entries)), tuple(entries)


def _why_no_stack(context: Context, world: World, tier: Tier) -> tuple[str, ...]:
    """Why nothing of a tier may be rendered: a file of it is faulty, or no adapter applies to it and nobody said so."""
    if faults := world.faulty_tiers.get(tier):
        return tuple(map(str, faults))
    if context.settings.missing_adapter == "none" or not world.subjects.get(tier):
        return ()
    genres = context.remember(
        "genres with adapters", lambda: {w.genre for w in context.catalog.worlds.values() if w.entries or w.excluded}
    )
    if not lacks_adapter(world, tier, has_genre_adapters=world.genre in genres):
        return ()
    hint = f"add {tier} to an `applies_to`, or write `missing_adapter: none` in sq.yaml"
    return (f"no adapter of {world.key} applies to the tier {tier}; {hint}",)


def _enter_status(context: Context, state: WorldState) -> WorldState:
    step, entries = stack_step_of(context, state.world, state.tier)
    return replace(state, stack=step, entries=entries)


def _make(context: Context, state: WorldState, _slugs: Collection[str]) -> list[Made]:
    """Settle the stack of a tier; raises RenderError when an adapter is missing or not promoted yet."""
    step = state.stack
    if step.record is not None:
        return [Made(context.reuse(step, step.record), is_made=False)]
    if step.status != "stale":
        raise RenderError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    applied = [
        {"name": entry.name, "lora_scale": entry.lora_scale, "adapter_version": entry.record.data_version}
        for entry in state.entries
    ]
    found, objects = look_at(context, state.world, state.tier, state.entries) if is_looked_at(step.inputs) else ({}, {})
    # how its adapters go together makes no other pictures
    version = fingerprint(stack_inputs(state.versions))
    record = step.as_record(version, objects, {"adapters": applied, **found})
    return [Made(context.keep(step, record), is_made=True)]


def warnings_of_stack(state: WorldState) -> Iterator[Fault]:
    """What is to be told of how its adapters go together."""
    found = state.stack.record.info.get(CHECK) if state.stack.record is not None else None
    if found is not None and not found["holds"]:
        hint = "change their scales, or look at the sheet of the stack"
        yield Fault(state.world.key, f"{state.tier} stack", found["sentence"], hint)


def _figures(record: Record) -> dict[str, Any]:
    """The adapters, the verdict in a sentence, and each figure, which the pages plot over time."""
    found = record.info.get(CHECK)
    if found is None:
        return {"adapters": record.info["adapters"]}
    numbers = {each["check"]: each["figure"] for each in found["verdicts"] if each["figure"] is not None}
    return {"adapters": record.info["adapters"], "together": found["sentence"], **numbers}


def _description(world: World, tier: Tier) -> str:
    told = f"The adapters that apply to this world's {tier} pictures, in order, with their scales."
    if world.faults:
        lines = "\n".join(f"- {fault}" for fault in world.faults)
        told += f"\n\n**What is wrong with this world:**\n\n{lines}"
    return told


ASSET = WorldAsset(
    part="stack",
    upstream=(),
    sources=("yaml", "visual_style", "sq_yaml", "verify_prompts/{tier}", "base_model", "gate"),
    enter_status=_enter_status,
    steps=lambda state: {"": state.stack},
    make=_make,
    description=_description,
    figures=_figures,
    shows=(ShownPicture("sheet", "stack", 480),),
    tags=("adapters",),
    adapters=lambda record: [entry["name"] for entry in record.info["adapters"]],
    uses_gpu=is_for_several,
)
