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
    base_model_for,
    ready,
    sample_prompts_of,
    survey_adapter,
    trainer_of,
)
from sq_pipeline.pipeline.adapters.training_dataset import checked_dataset, insist_unchanged
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.pipeline.workshop import Workshop
from sq_pipeline.training.checkpoint_folders import remove_abandoned_checkpoints, remove_checkpoints
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.training.ports import CheckpointPlace, TrainResult
from sq_pipeline.training.progress import TrainingSnapshot, draw_strips, show_progress, tell_snapshots
from sq_pipeline.training.train import at_first, both, draw_loss_curve, train_adapter


def make_mlx_adapter(
    workshop: Workshop,
    adapter: Adapter,
    log: logging.Logger,
    publish: Callable[[TrainingSnapshot], None] = lambda _: None,
) -> tuple[Record, bool]:
    """Train the adapter, unless the store has it; a training that was cut off is continued.

    `publish` gets snapshots of the training while it runs.
    """
    step, states = ready(workshop, adapter, "mlx_adapter")
    remove_abandoned_checkpoints(workshop.data, lambda: _trainings(workshop))
    if step.record is not None:
        remove_checkpoints(workshop.data, step.fingerprint)
        return workshop.take_up(step, step.record), False
    if workshop.engines.training_ahead is not None:
        workshop.engines.training_ahead().begin(trainings_to_come(workshop, adapter))
    dataset = checked_dataset(workshop, adapter)
    # the first step follows the reading of all pictures: from there on the folder may change
    insist = at_first(lambda: insist_unchanged(workshop, adapter, states["training_dataset"]))

    def tell(snapshot: TrainingSnapshot) -> None:
        log.info("%s", snapshot.as_line())
        publish(snapshot)

    on_progress = both(insist, both(tell_snapshots(tell), show_progress(adapter.key)))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        checkpoints = CheckpointPlace(workshop.data.checkpoint_folder(step.fingerprint), step.fingerprint)
        prompts = _sample_prompts(workshop, adapter, log)
        result = train_adapter(
            dataset, workshop.engines.trainer(trainer_of(workshop, adapter)), output, on_progress, checkpoints, prompts
        )
        version = tensors_data_version(output)
        objects = _training_objects(workshop, adapter, output, result)
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=version,
        objects=objects,
        info=_training_info(workshop, dataset, result),
    )
    kept = workshop.keep(step, record)
    remove_checkpoints(workshop.data, step.fingerprint)
    return kept, True


def trainings_to_come(workshop: Workshop, adapter: Adapter) -> list[tuple[str, str]]:
    """Key and fingerprint of the other trainings of this run that could begin now, while `adapter` is trained.

    Only over tiny-flux, by our own trainer: any other fills the machine alone.
    """
    found: list[tuple[str, str]] = []
    for key in sorted(workshop.run_trains):  # as Dagster orders the steps that could begin
        other = workshop.catalog.adapters[key]
        step = survey_adapter(workshop, other)["mlx_adapter"]
        if other.key == adapter.key or step.status != "stale" or step.record is not None:
            continue
        if trainer_of(workshop, other) == "mlx" and base_model_for(workshop, other).name == "tiny-flux":
            found.append((other.key, step.fingerprint))
    return found


def train_ahead(workshop: Workshop, adapter: Adapter, wanted: str) -> bool:
    """Train the adapter up to its end and leave that beside its checkpoints, for the process that will make it of it.

    Only what has the fingerprint `wanted`; returns whether it was that.
    """
    step, states = ready(workshop, adapter, "mlx_adapter")
    if step.fingerprint != wanted or step.record is not None:
        return False
    insist = at_first(lambda: insist_unchanged(workshop, adapter, states["training_dataset"]))
    place = CheckpointPlace(workshop.data.checkpoint_folder(wanted), wanted, keeps_end=True)
    trainer, prompts = workshop.engines.trainer(trainer_of(workshop, adapter)), sample_prompts_of(workshop, adapter)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        train_adapter(checked_dataset(workshop, adapter), trainer, output, insist, place, prompts)
    return True


def _sample_prompts(workshop: Workshop, adapter: Adapter, log: logging.Logger) -> tuple[str, ...]:
    try:
        return sample_prompts_of(workshop, adapter)
    except ContentError as error:
        log.warning("no samples are drawn: %s", error)  # the verification will ask for what is missing
        return ()


def _training_objects(
    workshop: Workshop, adapter: Adapter, output: Path, result: TrainResult
) -> dict[str, StoredObject]:
    """The final adapter, `kept-<iteration>` of each that was kept, the loss curve, and the samples if there are any."""
    store = workshop.store
    objects = {"adapter": store.put_file(output, ".safetensors")}
    for kept in result.kept:
        objects[f"kept-{kept.iteration:07d}"] = store.put_file(kept.path, ".safetensors")
    curve = draw_loss_curve(result.losses, adapter.key, result.held_out)
    objects["loss_curve"] = store.put_bytes(curve, ".png")
    if result.samples:
        objects["samples"] = store.put_bytes(draw_strips(result.samples), ".png")
    return objects


def _training_info(workshop: Workshop, dataset: TrainingDataset, result: TrainResult) -> dict[str, Any]:
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
        "chip": workshop.engines.chip,
        **({"held_out": [list(pair) for pair in result.held_out]} if result.held_out else {}),
        **({"settings": dict(result.settings)} if result.settings else {}),
        **({"resumed_at": list(result.resumed_at)} if result.resumed_at else {}),
    }


def _trainings(workshop: Workshop) -> set[str]:
    """The fingerprints of all adapters that are trained here, as they would be trained now."""
    surveys = [survey_adapter(workshop, adapter) for adapter in workshop.catalog.adapters.values()]
    return {states["mlx_adapter"].fingerprint for states in surveys if "mlx_adapter" in states}
