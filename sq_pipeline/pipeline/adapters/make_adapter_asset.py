"""Making one asset of an adapter, unless the store has it. What each kind does: a file each, see `adapter_assets`."""

import logging
from collections.abc import Callable
from dataclasses import replace

from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import NO_WORD, Making, PersonsWord
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of, ready
from sq_pipeline.pipeline.adapters.facts import recovered_record
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.progress import TrainingSnapshot

_LOG = logging.getLogger(__name__)


def make_adapter_asset(
    context: Context,
    adapter: Adapter,
    name: str,
    log: logging.Logger = _LOG,
    publish: Callable[[TrainingSnapshot], None] = lambda _: None,
    word: PersonsWord = NO_WORD,
) -> tuple[Record, bool]:
    """The record, and whether work was done for it (False: the store had it).

    `publish` gets snapshots of a training while it runs; `word`: what a person says to it. Raises AdapterError
    where something upstream is missing, and what making it raises.
    """
    asset = ADAPTER_ASSETS[name]
    if word != NO_WORD:
        asset.enter(context, adapter, adapter_steps_of(context, adapter), word)
    step, steps = ready(context, adapter, name)
    if recovered := recovered_record(context, adapter, step, asset.can_lack):
        step = replace(step, record=recovered)
    making = Making(
        context, adapter, step, steps, log, lambda other: adapter_steps_of(context, other), publish, word.by
    )
    asset.tidy(making)
    if step.record is not None and (step.status == "fresh" or not asset.is_placed):
        return context.reuse(step, step.record), False
    record = context.keep(step, asset.make(making))
    asset.tidy(making)
    return record, step.record is None
