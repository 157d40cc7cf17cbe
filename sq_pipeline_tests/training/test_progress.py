"""How a training is told: snapshots, the bar, strips of samples."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.common.processes.progress import Progress, shown_by
from sq_pipeline.training.ports import TrainProgress
from sq_pipeline.training.progress import TrainingSnapshot, draw_strips, shown_training, tell_snapshots


def _told(iterations: int, share: float = 0.1, **extra: Mapping[int, object]) -> list[TrainingSnapshot]:
    """The snapshots of a training whose loss is 1 / iteration, two seconds each; `extra` by iteration."""
    told: list[TrainingSnapshot] = []
    on_progress = tell_snapshots(told.append, share)
    for iteration in range(1, iterations + 1):
        given = {name: values[iteration] for name, values in extra.items() if iteration in values}
        on_progress(TrainProgress(iteration, iterations, 1 / iteration, 2.0 * iteration, **given))  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize(
    ("iterations", "share", "told"),
    [
        (1, 0.1, [1]),
        (3, 0.1, [1, 2, 3]),
        (10, 0.5, [5, 10]),
        (7, 0.5, [4, 7]),
        (25, 0.1, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 25]),
    ],
)
def test_which_iterations_are_told(iterations: int, share: float, told: list[int]) -> None:
    assert [snapshot.iteration for snapshot in _told(iterations, share)] == told


def test_a_snapshot_smooths_the_loss_and_remembers_the_held_out_one() -> None:
    told = _told(40, validation_loss={1: 0.7, 10: 0.6}, memory_bytes={4: 3 * 2**30})
    assert told[0].loss == pytest.approx((1 / 3 + 1 / 4) / 2)  # a twentieth of forty
    assert [snapshot.validation_loss for snapshot in told[:4]] == [0.7, 0.7, 0.6, 0.6]
    assert told[0].as_line() == "iteration 4 of 40, loss 0.2917, validation 0.7000, 0.50 it/s, 3.0 GiB, 72 s left"
    assert told[-1].as_line().endswith(", 0.50 it/s, 0 s left")


@pytest.mark.parametrize(("seconds", "says"), [(99.4, "99 s"), (600, "10 min"), (2640 * 4, "2 h 56 min")])
def test_long_times_are_said_in_minutes_and_hours(seconds: float, says: str) -> None:
    snapshot = TrainingSnapshot(1, 2, 0.5, None, 1.0, None, seconds, None)
    assert snapshot.as_line().endswith(f", {says} left")


def _strip(folder: Path, iteration: int, grey: int) -> Path:
    path = folder / f"sample-{iteration:07d}.png"
    Image.new("RGB", (200, 60), (grey, grey, grey)).save(path)
    return path


def test_a_new_strip_is_told_at_once_with_all_before_it(tmp_path: Path) -> None:
    samples = {iteration: _strip(tmp_path, iteration, 20 * iteration) for iteration in (1, 3, 5)}
    told = _told(10, 1.0, sample=samples)
    assert [(snapshot.iteration, snapshot.strips is not None) for snapshot in told] == [
        (1, True),
        (3, True),
        (5, True),
        (10, False),
    ]
    heights = [Image.open(io.BytesIO(snapshot.strips)).height for snapshot in told if snapshot.strips]
    assert heights == sorted(set(heights))  # it grows; a later one that is there already is not shown before its time


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (4, 4), (10, 10), (37, 10)])
def test_many_strips_are_thinned_out_and_first_and_last_stay(tmp_path: Path, count: int, rows: int) -> None:
    samples = [(number, _strip(tmp_path, number, number)) for number in range(count)]
    with Image.open(io.BytesIO(draw_strips(samples))) as image:
        pixels = np.asarray(image.convert("L"))
    column = pixels[:, 20]
    shown = [int(value) for value in dict.fromkeys(column.tolist()) if value < 100]
    assert len(shown) == rows
    assert shown[0] == 0
    assert shown[-1] == count - 1


class _Seen:
    """Whoever shows progress, and what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int, str, float | None]] = []
        self.ended = 0

    def begin(self, progress: Progress) -> None:
        self.change(progress)

    def change(self, progress: Progress) -> None:
        self.told.append((progress.what, progress.done, progress.total, progress.note, progress.left_s))

    def end(self, progress: Progress) -> None:
        self.ended += 1


def test_a_training_tells_its_iterations_losses_and_memory_to_whoever_shows_them() -> None:
    seen = _Seen()
    with shown_by(seen), shown_training("western/land", 4) as on_progress:
        for iteration, validation in ((1, 0.75), (2, None)):
            on_progress(TrainProgress(iteration, 4, 0.125, 1.0, 2 * 2**30, validation))
    what, note = "training western/land", "loss 0.1250, validation 0.7500, 2.0 GiB"
    assert seen.told == [(what, 0, 4, "", None), (what, 1, 4, note, 3.0), (what, 2, 4, note, 1.0)]
    assert seen.ended == 1


def test_time_left_goes_by_the_mean_pace() -> None:
    assert TrainProgress(10, 40, 0.1, 5.0).remaining_s == pytest.approx(15)
    assert TrainProgress(40, 40, 0.1, 5.0).remaining_s == 0
    assert TrainProgress(0, 40, 0.1, 0.0).remaining_s == 0
    assert TrainProgress(10, 40, 0.1, 5.0).iterations_per_s == 2
