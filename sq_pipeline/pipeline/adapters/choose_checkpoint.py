"""A person's choice among the checkpoints of a training: entering it, and dropping it.

Not here: what comes of it (the asset `chosen_checkpoint`).
"""

from collections.abc import Mapping
from typing import Any

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.checkpoints.kept_checkpoints import KeptCheckpoint, enter_choice, kept_checkpoints
from sq_pipeline.pipeline.adapters.facts import asset_name
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.checkpoint_choices import read_choices, write_choices


def choose_checkpoint(context: Context, adapter: Adapter, iteration: int, by: str) -> dict[str, Any]:
    """Enter a person's choice; it goes on from there with the next run, and renders no scores again.

    Raises SelectionError for an adapter that is not trained, an iteration that was not kept, or where nobody is named.
    """
    training = _training_of(context, adapter)
    kept = kept_checkpoints(context, training)
    enter_choice(context, adapter, training, iteration, by)
    return {**_summary(context, adapter, kept), "iteration": iteration, "by": by.strip()}


def choose_proposed(context: Context, adapter: Adapter) -> dict[str, Any]:
    """Drop a person's choice, if there is one: the proposal holds again. Raises SelectionError, as above."""
    kept = kept_checkpoints(context, _training_of(context, adapter))
    choices = read_choices(context.data, adapter.genre)
    if choices.pop(adapter.name, None) is not None:
        write_choices(context.data, adapter.genre, choices)
    summary = _summary(context, adapter, kept)
    return {**summary, "iteration": summary["proposed"], "by": None}


def _training_of(context: Context, adapter: Adapter) -> Record:
    if adapter.dataset is None:
        raise SelectionError(Fault(adapter.key, "", "is not trained here, so it has no checkpoints", ""))
    step = adapter_steps_of(context, adapter)["mlx_adapter"]
    if step.record is None:
        hint = f"bring it up to date with {command('run')}"
        raise SelectionError(Fault(step.asset, "", f"is not trained yet: {'; '.join(step.reasons)}", hint))
    return step.record


def _summary(context: Context, adapter: Adapter, kept: Mapping[int, KeptCheckpoint]) -> dict[str, Any]:
    """What there is to choose among; `proposed` is None where it was not scored yet."""
    return {
        "adapter": adapter.key,
        "kept": list(kept),
        "proposed": _proposed(context, adapter, kept),
        "file": context.data.relative(context.data.checkpoint_choices(adapter.genre)),
    }


def _proposed(context: Context, adapter: Adapter, kept: Mapping[int, KeptCheckpoint]) -> int | None:
    if len(kept) == 1:
        return next(iter(kept))
    current = context.store.read_current(asset_name(adapter, "chosen_checkpoint"))
    record = context.store.read_record("chosen_checkpoint", current[0]) if current else None
    return None if record is None or record.info["kept"] != list(kept) else record.info.get("proposed")
