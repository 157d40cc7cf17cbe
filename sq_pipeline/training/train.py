"""Training one adapter with the trainer that it is given, and drawing its loss.

Not here: the training (engines), telling how it goes (`training.progress`).
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sq_pipeline.telemetry.spans import span
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.training.ports import CheckpointPlace, Trainer, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.progress import OnProgress


def train_adapter(
    dataset: TrainingDataset,
    trainer: Trainer,
    output_path: Path,
    on_progress: OnProgress,
    checkpoints: CheckpointPlace | None = None,
    sample_prompts: Sequence[str] = (),
) -> TrainResult:
    """Train over a checked dataset and write the MLX adapter; raises TrainingError, BaseModelError, StorageError."""
    request = TrainRequest(
        dataset.base_model, dataset.examples(), dataset.recipe, output_path, checkpoints, tuple(sample_prompts)
    )
    asked = {"train.base_model": dataset.base_model, "train.pairs": len(request.examples)}
    with span("flux_mlx.train_adapter", {**asked, "train.iterations": request.recipe.iterations}) as told:
        result = trainer.train(request, on_progress)
        told.set({"train.tensors": result.tensors, "train.elapsed_ms": result.wall_s * 1000})
        if result.losses:
            told.set({"train.loss_first": result.losses[0], "train.loss_last": result.losses[-1]})
        return result


def at_first(check: Callable[[], None]) -> OnProgress:
    """Calls `check` with the first progress, which comes when everything is read."""
    is_done = False

    def on_progress(_progress: TrainProgress) -> None:
        nonlocal is_done
        if not is_done:
            is_done = True
            check()

    return on_progress


def both(first: OnProgress, second: OnProgress) -> OnProgress:
    """One callback that calls two."""

    def on_progress(progress: TrainProgress) -> None:
        first(progress)
        second(progress)

    return on_progress


def draw_loss_curve(losses: Sequence[float], title: str, validation: Sequence[tuple[int, float]] = ()) -> bytes:
    """The loss over iterations as a PNG: every value, its running mean over a twentieth, the validation losses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = max(1, len(losses) // 20)
    figure = Figure(figsize=(5, 2.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    iterations = np.arange(1, len(losses) + 1)
    axes.plot(iterations, losses, color="#b9c4d6", linewidth=0.8, label="loss")
    if len(losses) >= window:
        mean = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes.plot(iterations[window - 1 :], mean, color="#1f4e9c", label=f"mean of {window}")
    if validation:
        at, values = zip(*validation, strict=True)
        axes.plot(at, values, color="#c4552d", marker="o", markersize=3, label="validation")
    axes.set(title=title, xlabel="iteration", ylabel="loss")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
