"""How a training goes, told while it runs: in the log, as progress, as snapshots for Dagster's pages.

Here: progress → lines, notes, snapshots, strips of samples. Not here: training (`train`), showing a snapshot (`defs`).
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.training.ports import TrainProgress

OnProgress = Callable[[TrainProgress], None]

_STRIPS_MAX = 10
_GIB = 2**30


@dataclass(frozen=True)
class TrainingSnapshot:
    """Where a training stands. `loss` is the mean of about a twentieth of the training, `validation_loss` the last one.

    `strips` is a PNG of the samples so far, where there are any.
    """

    iteration: int
    iterations: int
    loss: float
    validation_loss: float | None
    iterations_per_s: float
    memory_bytes: int | None
    remaining_s: float
    strips: bytes | None

    def as_line(self) -> str:
        """One line for a log."""
        parts = [f"iteration {self.iteration} of {self.iterations}", f"loss {self.loss:.4f}"]
        if self.validation_loss is not None:
            parts.append(f"validation {self.validation_loss:.4f}")
        parts.append(f"{self.iterations_per_s:.2f} it/s")
        if self.memory_bytes is not None:
            parts.append(f"{self.memory_bytes / _GIB:.1f} GiB")
        return ", ".join([*parts, f"{_duration(self.remaining_s)} left"])


def tell_snapshots(publish: Callable[[TrainingSnapshot], None], every_share: float = 0.1) -> OnProgress:
    """Publishes a snapshot for each tenth of the training (by default), for each new strip, and at the end."""
    recent: list[float] = []
    samples: list[tuple[int, Path]] = []
    validation: float | None = None

    def on_progress(progress: TrainProgress) -> None:
        nonlocal validation
        window = max(1, progress.iterations // 20)
        recent.append(progress.loss)
        del recent[:-window]
        validation = progress.validation_loss if progress.validation_loss is not None else validation
        step = max(1, round(progress.iterations * every_share))
        is_last = progress.iteration == progress.iterations
        if progress.iteration % step and not is_last and progress.sample is None:
            return
        strips = None
        if progress.sample is not None:
            if not samples:
                samples.extend(_drawn_before(progress.sample, progress.iteration))
            samples.append((progress.iteration, progress.sample))
            strips = draw_strips(samples)
        publish(
            TrainingSnapshot(
                progress.iteration,
                progress.iterations,
                sum(recent) / len(recent),
                validation,
                progress.iterations_per_s,
                progress.memory_bytes,
                progress.remaining_s,
                strips,
            )
        )

    return on_progress


@contextmanager
def shown_training(label: str, iterations: int) -> Iterator[OnProgress]:
    """What tells a training's iterations to whoever shows progress, with its losses and memory."""
    validation: float | None = None
    with progress_of(f"training {label}", iterations) as shown:

        def on_progress(progress: TrainProgress) -> None:
            nonlocal validation
            validation = progress.validation_loss if progress.validation_loss is not None else validation
            told = [f"loss {progress.loss:.4f}"]
            if validation is not None:
                told.append(f"validation {validation:.4f}")
            if progress.memory_bytes is not None:
                told.append(f"{progress.memory_bytes / _GIB:.1f} GiB")
            shown.reach(progress.iteration, ", ".join(told), progress.remaining_s)

        yield on_progress


def _drawn_before(sample: Path, iteration: int) -> list[tuple[int, Path]]:
    """The strips of before a resume, and of the start: those beside this one that bear an earlier iteration's name."""
    found = ((int(path.stem.rpartition("-")[2]), path) for path in sorted(sample.parent.glob("sample-*.png")))
    return [(at, path) for at, path in found if at < iteration]


def draw_strips(samples: Sequence[tuple[int, Path]]) -> bytes:
    """A PNG of strips, one below the other with its iteration: at most ten, at even distances, first and last too."""
    count = min(len(samples), _STRIPS_MAX)
    chosen = sorted({round(index * (len(samples) - 1) / max(1, count - 1)) for index in range(count)})
    rows: list[list[Tile]] = []
    for index in chosen:
        iteration, path = samples[index]
        with Image.open(path) as image:
            rows.append([Tile(np.asarray(image.convert("RGB")), f"iteration {iteration}")])
    buffer = io.BytesIO()
    draw_sheet(rows, max_tile_px=640).save(buffer, format="PNG")
    return buffer.getvalue()


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
