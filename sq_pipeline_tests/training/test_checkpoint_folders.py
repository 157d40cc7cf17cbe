"""When the folders of checkpoints go, and what losses make no sense."""

import os
import time
from pathlib import Path

import pytest

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mlx.loss_watch import describe_fault, is_doubtful
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
