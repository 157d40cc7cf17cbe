"""Training one adapter with the trainer that it is given, and drawing its loss. Not here: the training (engines)."""

import io
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sq_pipeline.core.protocols import CheckpointPlace, Trainer, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.stages.dataset import TrainingDataset

OnProgress = Callable[[TrainProgress], None]


def train_adapter(
    dataset: TrainingDataset,
    trainer: Trainer,
    output_path: Path,
    on_progress: OnProgress,
    checkpoints: CheckpointPlace | None = None,
) -> TrainResult:
    """Train over a checked dataset and write the MLX adapter; raises TrainingError, BaseModelError, StorageError."""
    request = TrainRequest(dataset.base_model, dataset.examples(), dataset.recipe, output_path, checkpoints)
    return trainer.train(request, on_progress)


def log_progress(log: logging.Logger, every_share: float = 0.1) -> OnProgress:
    """Progress as log lines, one for each tenth (by default): iteration, smoothed loss, time left."""
    recent: list[float] = []

    def on_progress(progress: TrainProgress) -> None:
        recent.append(progress.loss)
        step = max(1, round(progress.iterations * every_share))
        if progress.iteration % step == 0 or progress.iteration == progress.iterations:
            loss = sum(recent[-step:]) / len(recent[-step:])
            log.info(
                "iteration %d of %d, loss %.4f, %.0f s left",
                progress.iteration,
                progress.iterations,
                loss,
                progress.remaining_s,
            )

    return on_progress


def show_progress(label: str) -> OnProgress:
    """Progress as a bar on stderr where that is a terminal; silent otherwise."""
    bar: tqdm | None = None

    def on_progress(progress: TrainProgress) -> None:
        nonlocal bar
        if bar is None:
            done, total = progress.iteration - 1, progress.iterations  # done: before a resume
            bar = tqdm(initial=done, total=total, desc=label, file=sys.stderr, disable=None, leave=False)
        bar.set_postfix_str(f"loss {progress.loss:.4f}", refresh=False)
        bar.update(progress.iteration - bar.n)
        if progress.iteration == progress.iterations:
            bar.close()

    return on_progress


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


def draw_loss_curve(losses: Sequence[float], title: str) -> bytes:
    """The loss over iterations as a PNG: every value, and its running mean over a twentieth of the training."""
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
    axes.set(title=title, xlabel="iteration", ylabel="loss")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
