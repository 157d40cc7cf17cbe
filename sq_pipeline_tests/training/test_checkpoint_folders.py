"""When the folders of checkpoints go, and what losses make no sense."""

import os
import tempfile
import time
from pathlib import Path

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mlx.checkpoints import Checkpoint, CheckpointFolder
from sq_pipeline.engines.trainers.mlx.loop import LoopState
from sq_pipeline.engines.trainers.mlx.loss_watch import describe_fault, good_until, is_doubtful
from sq_pipeline.training.checkpoint_folders import remove_abandoned_checkpoints, remove_checkpoints

DAY_S = 24 * 3600


def write(data: DataDir, name: str, age_days: float) -> Path:
    path = data.checkpoint_folder(f"sha256:{name}") / "0000050.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    for aged in (path, path.parent):
        written_s = time.time() - age_days * DAY_S
        os.utime(aged, (written_s, written_s))
    return path.parent


def test_only_what_is_old_and_unwanted_goes(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    folders = {name: write(data, name, age) for name, age in (("old", 15), ("wanted", 300), ("new", 13))}
    remove_abandoned_checkpoints(data, lambda: {"sha256:wanted"})
    assert {name for name, folder in folders.items() if folder.is_dir()} == {"wanted", "new"}


def test_a_folder_that_was_written_to_lately_is_not_old(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    folder = write(data, "a", 15)
    os.utime(folder / "0000050.safetensors")
    remove_abandoned_checkpoints(data, lambda: set())
    assert folder.is_dir()


def test_what_is_wanted_is_not_asked_where_nothing_is_old(tmp_path: Path) -> None:
    def ask() -> set[str]:
        raise AssertionError

    data = DataDir(tmp_path)
    remove_abandoned_checkpoints(data, ask)
    write(data, "new", 1)
    remove_abandoned_checkpoints(data, ask)


def test_the_last_folder_takes_the_root_with_it(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    write(data, "a", 0)
    write(data, "b", 0)
    remove_checkpoints(data, "sha256:a")
    assert [path.name for path in data.checkpoints_root.iterdir()] == ["b"]
    remove_checkpoints(data, "sha256:b")
    assert not data.checkpoints_root.exists()
    remove_checkpoints(data, "sha256:b")


def test_a_folder_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.checkpoints_root.mkdir(parents=True)
    data.checkpoint_folder("sha256:a").write_bytes(b"a file where a folder should be")
    with pytest.raises(StorageError, match="checkpoints/a: cannot be written"):
        remove_checkpoints(data, "sha256:a")


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([0.9, float("nan")], "the loss became nan at iteration 2"),
        ([float("inf")], "the loss became inf at iteration 1"),
        ([0.5, *[2.0] * 20], "the loss diverged: about 2, where a blank prediction has 2, at iteration 21"),
        ([0.5] * 30 + [1e9] * 11, "the loss diverged: about 1e+09"),
        ([0.5] * 30 + [1e9] * 9, None),
        ([1.9] * 19, None),
        ([1.7] * 100, None),
        ([0.5], None),
    ],
)
def test_which_losses_make_no_sense(losses: list[float], says: str | None) -> None:
    found = describe_fault(losses, 2.0)
    assert found == says if says is None else found is not None and found.startswith(says)


@pytest.mark.parametrize(("loss", "wanted"), [(1.8, False), (1.81, True), (float("nan"), True), (0.1, False)])
def test_which_loss_is_no_moment_for_a_checkpoint(loss: float, wanted: bool) -> None:
    assert is_doubtful(loss, 2.0) is wanted


@pytest.mark.parametrize(
    ("losses", "until"),
    [
        ([0.5] * 30, ()),
        ([0.5] * 10 + [1.9] * 3, (10, 11, 12)),
        ([0.5] * 10 + [1.9, 0.5, 1.9], (10, 12)),
        ([1.9] + [0.5] * 20, ()),  # more than twenty ago
        ([0.5] * 5 + [float("nan")], (5,)),
        ([1.9] * 21, tuple(range(1, 21))),
    ],
)
def test_after_which_iterations_a_divergence_may_have_begun(losses: list[float], until: tuple[int, ...]) -> None:
    assert good_until(losses, 2.0) == until


@given(st.lists(st.sampled_from([0.5, 0.5, 1.9]), min_size=20, max_size=60), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_the_last_that_was_good_is_kept_however_losses_flicker(losses: list[float], interval: int) -> None:
    """Held to what is kept by nobody who has to save space: every checkpoint."""
    losses = [*losses, *[1.9] * 20]  # it ends in a divergence
    saved: list[int] = []
    so_far: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder, place = CheckpointFolder(Path(name), "this"), Path(name)
        for iteration in range(1, len(losses) + 1):
            so_far = losses[:iteration]
            if describe_fault(so_far, 2.0):
                break
            if iteration % interval == 0 and not is_doubtful(so_far[-1], 2.0):
                state = LoopState(iteration, {"adapter.a": mx.zeros(1)}, {}, ())
                folder.save(Checkpoint(state, tuple(so_far), 0.0, ()), good_until(so_far, 2.0))
                saved.append(iteration)
        recent = so_far[-20:]
        last_good = len(so_far) - len(recent) + next(at for at, loss in enumerate(recent) if loss > 1.8)
        folder.drop_after(good_until(so_far, 2.0)[0])
        good = [iteration for iteration in saved if iteration <= last_good]
        assert max(map(int, (path.stem for path in place.glob("*.safetensors"))), default=None) == max(
            good, default=None
        )
        assert folder.last_iteration == max(good, default=None)
        assert len(list(place.glob("*.safetensors"))) <= 2 + 20 // interval


def test_without_high_losses_two_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "this")
    for iteration in range(1, 30):
        state = LoopState(iteration, {"adapter.a": mx.zeros(1)}, {}, ())
        folder.save(Checkpoint(state, (0.5,) * iteration, 0.0, ()), good_until([0.5] * iteration, 2.0))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["0000028", "0000029"]
