"""The asset `mlx_adapter`: an adapter as it was trained, and what a training leaves to look at.

Not here: the training (engines), how it is told of (`training.progress`), training ahead of a run (`train_ahead`).
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.base_models.base_models import training_base_of
from sq_pipeline.common.errors import ContentError, DivergedError, Fault
from sq_pipeline.common.processes.awake import kept_awake
from sq_pipeline.common.processes.deaths import telling_where_it_goes_on
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.adapters.adapter_asset import AdapterAsset, Making, Steps, made
from sq_pipeline.pipeline.adapters.facts import (
    base_model_for,
    dataset_label,
    recipe_of,
    recovered_record,
    sample_prompts_of,
    trainer_of,
)
from sq_pipeline.pipeline.adapters.training_dataset import checked_dataset, insist_unchanged, training_faults
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, mlx_adapter_inputs
from sq_pipeline.pipeline.shown import ShownPicture
from sq_pipeline.pipeline.store import Record, StoredObject
from sq_pipeline.training.checkpoint_folders import (
    divergence_of,
    last_checkpoint,
    note_divergence,
    remove_abandoned_checkpoints,
    remove_checkpoints,
)
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.training.ports import CheckpointPlace, TrainResult
from sq_pipeline.training.progress import TrainingSnapshot, draw_strips, shown_training, tell_snapshots
from sq_pipeline.training.train import at_first, both, draw_loss_curve, train_adapter

_CAN_LACK = ("loss_curve", "samples")


def _inputs(context: Context, adapter: Adapter, steps: Steps) -> Inputs:
    trained_over = training_base_of(base_model_for(context, adapter))
    return mlx_adapter_inputs(
        made(steps, "training_dataset").data_version,
        recipe_of(context, adapter),
        trained_over,
        context.weights_hash(trained_over),
        context.trainer_versions(trainer_of(context, adapter)),
    )


def _refine(context: Context, adapter: Adapter, step: Step, _steps: Steps) -> Step:
    """The training, saying where it goes on if it was cut off; blocked where its trainer would refuse it, or where it
    is known to diverge.
    """
    if not step.is_to_do or step.record is not None:
        return step
    is_to_train = step.because is None
    diverged = _divergence(context, adapter, step) if is_to_train else None
    faults = training_faults(context, adapter) if diverged is None else [diverged]
    if faults:
        return replace(step, status="blocked", reasons=tuple(map(str, faults)), because=None)
    last = last_checkpoint(context.data, step.fingerprint) if is_to_train else None
    if last is None:
        return step
    return replace(step, reasons=(*step.reasons, f"goes on after iteration {last}, where it was cut off"))


def _divergence(context: Context, adapter: Adapter, step: Step) -> Fault | None:
    file = f"{dataset_label(adapter)}/lora.yaml"
    return divergence_of(context.data, step.fingerprint, context.engines.chip, file)


def _make(making: Making) -> Record:
    """Train the adapter; a training that was cut off is continued."""
    context, adapter, step = making.context, making.adapter, making.step
    if context.engines.training_ahead is not None:
        context.engines.training_ahead().begin(trainings_to_come(context, adapter, making.steps_of))
    dataset = checked_dataset(context, adapter)
    # the first step follows the reading of all pictures: from there on the folder may change
    insist = at_first(lambda: insist_unchanged(context, adapter, making.steps["training_dataset"]))

    def tell(snapshot: TrainingSnapshot) -> None:
        making.log.info("%s", snapshot.as_line())
        making.publish(snapshot)

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "final_adapters.safetensors"
        checkpoints = CheckpointPlace(context.data.checkpoint_folder(step.fingerprint), step.fingerprint)
        prompts = _sample_prompts(making)
        trainer = context.engines.trainer(trainer_of(context, adapter))
        try:
            with (
                telling_where_it_goes_on("begins this training anew"),
                kept_awake(),
                shown_training(adapter.key, dataset.recipe.iterations) as show,
            ):
                on_progress = both(insist, both(tell_snapshots(tell), show))
                result = train_adapter(dataset, trainer, output, on_progress, checkpoints, prompts)
        except DivergedError as error:
            if _divergence(context, adapter, step) is None:  # a process that trained it ahead may have noted it
                note_divergence(context.data, step.fingerprint, context.engines.chip, error.faults[0])
            raise
        version = tensors_data_version(output)
        objects = _training_objects(context, adapter, output, result)
    return step.as_record(version, objects, _training_info(context, dataset, result))


def _tidy(making: Making) -> None:
    """Remove the checkpoints of a training that the store has, and those that nothing will go on from."""
    context = making.context
    if context.store.read_record(making.step.kind, making.step.fingerprint) is not None:
        remove_checkpoints(context.data, making.step.fingerprint)
    remove_abandoned_checkpoints(context.data, lambda: _trainings(making))


def trainings_to_come(
    context: Context, adapter: Adapter, steps_of: Callable[[Adapter], Steps]
) -> list[tuple[str, str]]:
    """Key and fingerprint of the other trainings of this run that could begin now, while `adapter` is trained.

    Only over tiny-flux, by our own trainer: any other fills the machine alone.
    """
    found: list[tuple[str, str]] = []
    for key in sorted(context.run_trains):  # as Dagster orders the steps that could begin
        other = context.catalog.adapters[key]
        step = steps_of(other)["mlx_adapter"]
        if other.key == adapter.key or step.status != "stale" or step.record is not None:
            continue
        if recovered_record(context, other, step, _CAN_LACK) is not None:
            continue
        if trainer_of(context, other) == "mlx" and base_model_for(context, other).name == "tiny-flux":
            found.append((other.key, step.fingerprint))
    return found


def _sample_prompts(making: Making) -> tuple[str, ...]:
    try:
        return sample_prompts_of(making.context, making.adapter)
    except ContentError as error:
        making.log.warning("no samples are drawn: %s", error)  # the verification will ask for what is missing
        return ()


def _training_objects(context: Context, adapter: Adapter, output: Path, result: TrainResult) -> dict[str, StoredObject]:
    """The final adapter, `kept-<iteration>` of each that was kept, the loss curve, and the samples if there are any."""
    store, objects = context.store, adapter_objects(context, output, result)
    curve = draw_loss_curve(result.losses, adapter.key, result.validation)
    objects["loss_curve"] = store.put_bytes(curve, ".png")
    if result.samples:
        objects["samples"] = store.put_bytes(draw_strips(result.samples), ".png")
    return objects


def adapter_objects(context: Context, output: Path, result: TrainResult) -> dict[str, StoredObject]:
    """The adapters of a training, put into the store."""
    put = context.store.put_file
    kept = {f"kept-{kept.iteration:07d}": put(kept.path, ".safetensors") for kept in result.kept}
    return {"adapter": put(output, ".safetensors"), **kept}


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
        **({"validation_losses": [list(pair) for pair in result.validation]} if result.validation else {}),
        **({"settings": dict(result.settings)} if result.settings else {}),
        **({"resumed_at": list(result.resumed_at)} if result.resumed_at else {}),
    }


def _figures(record: Record) -> dict[str, Any]:
    """The losses as numbers that plot and as a table; the rest as it is."""
    losses = record.info.get("validation_losses", [])
    rest = {name: value for name, value in record.info.items() if name != "validation_losses"}
    table = [{"iteration": iteration, "validation loss": loss} for iteration, loss in losses]
    return {**({"validation loss": losses[-1][1], "validation losses": table} if losses else {}), **rest}


def _trainings(making: Making) -> set[str]:
    """The fingerprints of all adapters that are trained here, as they would be trained now."""
    found = map(making.steps_of, making.context.catalog.adapters.values())
    return {steps["mlx_adapter"].fingerprint for steps in found if "mlx_adapter" in steps}


ASSET = AdapterAsset(
    name="mlx_adapter",
    upstream=("training_dataset",),
    sources=("dataset_folder", "base_model", "sq_yaml"),
    inputs=_inputs,
    make=_make,
    description=lambda adapter: (
        f"{adapter.name} as it was trained, under mlx-examples' names. This takes the longest; it happens at night, or "
        "when you materialize it."
    ),
    figures=_figures,
    tags=("mlx", "training"),
    shows=(ShownPicture("loss_curve", "loss", 420), ShownPicture("samples", "samples by iteration", 640)),
    refine=_refine,
    tidy=_tidy,
    can_lack=_CAN_LACK,
    is_for_trained=True,
    uses_gpu=True,
)
