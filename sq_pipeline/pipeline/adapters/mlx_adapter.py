"""Making the MLX adapter of one adapter: training it, and keeping what the training gives.

Not here: the training (engines), how it is told of (`training.progress`), the other steps.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.tensor_survey import tensors_data_version
from sq_pipeline.common.errors import ContentError
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_status import (
    adapter_steps_of,
    base_model_for,
    ready,
    sample_prompts_of,
    trainer_of,
)
from sq_pipeline.pipeline.adapters.training_dataset import checked_dataset, insist_unchanged
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.training.checkpoint_folders import remove_abandoned_checkpoints, remove_checkpoints
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.training.ports import CheckpointPlace, TrainResult
from sq_pipeline.training.progress import TrainingSnapshot, draw_strips, show_progress, tell_snapshots
from sq_pipeline.training.train import at_first, both, draw_loss_curve, train_adapter


def make_mlx_adapter(
    context: Context,
    adapter: Adapter,
    log: logging.Logger,
    publish: Callable[[TrainingSnapshot], None] = lambda _: None,
) -> tuple[Record, bool]:
    """Train the adapter, unless the store has it; a training that was cut off is continued.

    `publish` gets snapshots of the training while it runs.
    """
    step, states = ready(context, adapter, "mlx_adapter")
    remove_abandoned_checkpoints(context.data, lambda: _trainings(context))
    if step.record is not None:
        remove_checkpoints(context.data, step.fingerprint)
        return context.reuse(step, step.record), False
    if context.engines.training_ahead is not None:
        context.engines.training_ahead().begin(trainings_to_come(context, adapter))
    dataset = checked_dataset(context, adapter)
    # the first step follows the reading of all pictures: from there on the folder may change
    insist = at_first(lambda: insist_unchanged(context, adapter, states["training_dataset"]))

    def tell(snapshot: TrainingSnapshot) -> None:
        log.info("%s", snapshot.as_line())
        publish(snapshot)

    on_progress = both(insist, both(tell_snapshots(tell), show_progress(adapter.key)))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        checkpoints = CheckpointPlace(context.data.checkpoint_folder(step.fingerprint), step.fingerprint)
        prompts = _sample_prompts(context, adapter, log)
        result = train_adapter(
            dataset, context.engines.trainer(trainer_of(context, adapter)), output, on_progress, checkpoints, prompts
        )
        version = tensors_data_version(output)
        objects = _training_objects(context, adapter, output, result)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects=objects,
        info=_training_info(context, dataset, result),
    )
    kept = context.keep(step, record)
    remove_checkpoints(context.data, step.fingerprint)
    return kept, True


def trainings_to_come(context: Context, adapter: Adapter) -> list[tuple[str, str]]:
    """Key and fingerprint of the other trainings of this run that could begin now, while `adapter` is trained.

    Only over tiny-flux, by our own trainer: any other fills the machine alone.
    """
    found: list[tuple[str, str]] = []
    for key in sorted(context.run_trains):  # as Dagster orders the steps that could begin
        other = context.catalog.adapters[key]
        step = adapter_steps_of(context, other)["mlx_adapter"]
        if other.key == adapter.key or step.status != "stale" or step.record is not None:
            continue
        if trainer_of(context, other) == "mlx" and base_model_for(context, other).name == "tiny-flux":
            found.append((other.key, step.fingerprint))
    return found


def train_ahead(context: Context, adapter: Adapter, wanted: str) -> bool:
    """Train the adapter up to its end and leave that beside its checkpoints, for the process that will make it of it.

    Only what has the fingerprint `wanted`; returns whether it was that.
    """
    step, states = ready(context, adapter, "mlx_adapter")
    if step.fingerprint != wanted or step.record is not None:
        return False
    insist = at_first(lambda: insist_unchanged(context, adapter, states["training_dataset"]))
    place = CheckpointPlace(context.data.checkpoint_folder(wanted), wanted, keeps_end=True)
    trainer, prompts = context.engines.trainer(trainer_of(context, adapter)), sample_prompts_of(context, adapter)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        train_adapter(checked_dataset(context, adapter), trainer, output, insist, place, prompts)
    return True


def _sample_prompts(context: Context, adapter: Adapter, log: logging.Logger) -> tuple[str, ...]:
    try:
        return sample_prompts_of(context, adapter)
    except ContentError as error:
        log.warning("no samples are drawn: %s", error)  # the verification will ask for what is missing
        return ()


def _training_objects(context: Context, adapter: Adapter, output: Path, result: TrainResult) -> dict[str, StoredObject]:
    """The final adapter, `kept-<iteration>` of each that was kept, the loss curve, and the samples if there are any."""
    store = context.store
    objects = {"adapter": store.put_file(output, ".safetensors")}
    for kept in result.kept:
        objects[f"kept-{kept.iteration:07d}"] = store.put_file(kept.path, ".safetensors")
    curve = draw_loss_curve(result.losses, adapter.key, result.held_out)
    objects["loss_curve"] = store.put_bytes(curve, ".png")
    if result.samples:
        objects["samples"] = store.put_bytes(draw_strips(result.samples), ".png")
    return objects


def _training_info(context: Context, dataset: TrainingDataset, result: TrainResult) -> dict[str, Any]:
    tail = result.losses[-max(1, len(result.losses) // 10) :]
    return {
        "pairs": len(dataset.images),
        "iterations": dataset.recipe.iterations,
        "tensors": result.tensors,
        "loss_first": result.losses[0],
        "loss_last_tenth": sum(tail) / len(tail),
        "wall_s": round(result.wall_s, 2),
        "encode_s": round(result.encode_s, 2),
        "peak_memory_bytes": result.peak_memory_bytes,
        "chip": context.engines.chip,
        **({"held_out": [list(pair) for pair in result.held_out]} if result.held_out else {}),
        **({"settings": dict(result.settings)} if result.settings else {}),
        **({"resumed_at": list(result.resumed_at)} if result.resumed_at else {}),
    }


def _trainings(context: Context) -> set[str]:
    """The fingerprints of all adapters that are trained here, as they would be trained now."""
    surveys = [adapter_steps_of(context, adapter) for adapter in context.catalog.adapters.values()]
    return {states["mlx_adapter"].fingerprint for states in surveys if "mlx_adapter" in states}
