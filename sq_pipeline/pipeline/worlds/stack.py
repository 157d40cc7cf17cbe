"""The asset `stack`: the promoted adapters of a world's tier, in order, with their scales."""

from typing import Any

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.workshop import Step, Workshop
from sq_pipeline.pipeline.worlds.world_status import survey_stack


def _plain_record(step: Step, data: dict[str, Any]) -> Record:
    return Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=fingerprint(step.inputs),
        info=data,
    )


def make_stack(workshop: Workshop, world: World, tier: Tier) -> tuple[Record, bool]:
    """Settle the stack of a tier; raises RenderError when an adapter is missing or not promoted yet."""
    step, entries = survey_stack(workshop, world, tier)
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    if step.status != "stale":
        raise RenderError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    applied = [
        {"name": entry.name, "lora_scale": entry.lora_scale, "adapter_version": entry.record.data_version}
        for entry in entries
    ]
    return workshop.keep(step, _plain_record(step, {"adapters": applied})), True
