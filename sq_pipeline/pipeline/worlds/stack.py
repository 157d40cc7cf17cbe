"""The asset `stack`: the promoted adapters of a world's tier, in order, with their scales."""

from typing import Any

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_status import stack_step_of


def _plain_record(step: Step, data: dict[str, Any]) -> Record:
    return Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=fingerprint(step.inputs),
        info=data,
    )


def make_stack(context: Context, world: World, tier: Tier) -> tuple[Record, bool]:
    """Settle the stack of a tier; raises RenderError when an adapter is missing or not promoted yet."""
    step, entries = stack_step_of(context, world, tier)
    if step.record is not None:
        return context.reuse(step, step.record), False
    if step.status != "stale":
        raise RenderError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    applied = [
        {"name": entry.name, "lora_scale": entry.lora_scale, "adapter_version": entry.record.data_version}
        for entry in entries
    ]
    return context.keep(step, _plain_record(step, {"adapters": applied})), True
