"""Which checkpoints of a training were kept, and which one a person chose.

Not here: scoring (`checkpoint_scoring`), what comes of a choice (`chosen_checkpoint`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import ContentError, Fault, SelectionError
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.training.checkpoint_choices import CheckpointChoice, read_choices, write_choices

_KEPT = re.compile(r"kept-(\d+)")


@dataclass(frozen=True)
class KeptCheckpoint:
    """An adapter as it was after `iteration`, in the store."""

    iteration: int
    stored: StoredObject
    data_version: str


def kept_checkpoints(context: Context, training: Record) -> dict[int, KeptCheckpoint]:
    """The checkpoints in a training's record, by rising iteration; the final adapter is always one of them."""
    found: dict[int, KeptCheckpoint] = {}
    for name, stored in sorted(training.objects.items()):
        if match := _KEPT.fullmatch(name):
            path = context.adapter_file(stored)
            version = context.files.remember(path, "tensors", lambda path=path: tensors_data_version(path))
            found[int(match[1])] = KeptCheckpoint(int(match[1]), stored, version)
    if all(checkpoint.data_version != training.data_version for checkpoint in found.values()):
        last = int(training.info["iterations"])
        found[last] = KeptCheckpoint(last, training.objects["adapter"], training.data_version)
    return dict(sorted(found.items()))


def choice_for(
    context: Context, adapter: Adapter, training: Record, kept: Mapping[int, KeptCheckpoint]
) -> CheckpointChoice | None:
    """A person's choice for this training; None without one, or where it was for another training.

    Raises ContentError for a file that cannot be used, and for an iteration that was not kept.
    """
    choice = _choices(context, adapter.genre).get(adapter.name)
    if choice is None or choice.training != training.data_version:
        return None
    if choice.iteration not in kept:
        file = context.data.relative(context.data.checkpoint_choices(adapter.genre))
        raise ContentError(not_kept(file, f"choices.{adapter.name}.iteration", choice.iteration, kept))
    return choice


def not_kept(file: str, field: str, iteration: int, kept: Mapping[int, KeptCheckpoint]) -> Fault:
    """The fault of an iteration that was not kept, with those that were."""
    return Fault(file, field, f"iteration {iteration} was not kept", f"choose {' or '.join(map(str, kept))}")


def enter_choice(context: Context, adapter: Adapter, training: Record, iteration: int, by: str) -> None:
    """Write down a person's choice; raises SelectionError where nobody is named, or for what was not kept."""
    kept = kept_checkpoints(context, training)
    faults: list[Fault] = []
    if iteration not in kept:
        faults.append(not_kept("", "iteration", iteration, kept))
    if not by.strip():
        faults.append(Fault("", "by", "nobody is named", "say who chooses it"))
    if faults:
        raise SelectionError(faults)
    choices = read_choices(context.data, adapter.genre)
    choices[adapter.name] = CheckpointChoice(iteration=iteration, by=by.strip(), training=training.data_version)
    write_choices(context.data, adapter.genre, choices)
    context.forget(("choices", adapter.genre))


def outdated_choice(context: Context, adapter: Adapter, training: Record) -> Fault | None:
    """What to tell of a choice that was made for another training than this one."""
    try:
        choice = _choices(context, adapter.genre).get(adapter.name)
    except ContentError:
        return None  # the step itself is blocked by it, and says so
    if choice is None or choice.training == training.data_version:
        return None
    file = context.data.relative(context.data.checkpoint_choices(adapter.genre))
    problem = f"{choice.by}'s choice of iteration {choice.iteration} was for another training; the proposal holds"
    hint = f"choose again, or drop it: {command('adapter choose', adapter.name, '--proposed')}"
    return Fault(file, f"choices.{adapter.name}", problem, hint)


def _choices(context: Context, genre: str) -> dict[str, CheckpointChoice]:
    return context.remember(("choices", genre), lambda: read_choices(context.data, genre))
