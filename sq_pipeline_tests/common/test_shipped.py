"""A new data directory from what is shipped: whole, or nothing of it; and what is shipped is found."""

import errno
import os
from pathlib import Path

import pytest

from sq_pipeline.common import layout, shipped
from sq_pipeline.common.errors import SelectionError, StorageError
from sq_pipeline.common.layout import data_root, find_data_root, keymaps_root, shipped_data_root
from sq_pipeline.common.shipped import copy_shipped_data
from sq_pipeline_tests.builders import faults_of

SHIPPED = ["content/a/visual_style.yaml", "keymaps/a.yaml", "models/tiny/model.bin", "sq.yaml"]
COMPUTED = ["store/a", "content/lora/a", "content/lora-datasets/a/0.png", "content/a/images/poi/b.png", ".hidden/a"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as a wheel installs it, with something in its folder that is not shipped."""
    root = tmp_path / "site-packages/sq_pipeline"
    for name in (*SHIPPED, *COMPUTED):
        (root / "_shipped" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "_shipped" / name).write_text(name)
    monkeypatch.setattr(layout, "_package", lambda: root)
    return root


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# --- where it is


def test_a_checkout_has_it_in_data() -> None:
    repository = Path(__file__).resolve().parents[2]
    assert shipped_data_root() == find_data_root(None) == data_root(None) == repository / "data"
    assert keymaps_root(None) == repository / "data/keymaps"


def test_an_installed_package_has_it_but_is_no_place_to_work_in(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages/data/keymaps").mkdir(parents=True)  # somebody else's
    assert shipped_data_root() == package / "_shipped"
    assert find_data_root(None) is None
    assert keymaps_root(None) == package / "_shipped/keymaps"
    (fault,) = faults_of(lambda: data_root(None), StorageError)
    assert "demo DIR" in fault.hint
    assert find_data_root(tmp_path) == data_root(tmp_path) == tmp_path
    monkeypatch.setenv("SQ_DATA", str(tmp_path / "game"))
    assert find_data_root(None) == data_root(None) == tmp_path / "game"
    assert keymaps_root(None) == tmp_path / "game/keymaps"


def test_an_installation_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_package", lambda: tmp_path / "sq_pipeline")
    monkeypatch.chdir(tmp_path)
    (fault,) = faults_of(shipped_data_root, StorageError)
    assert "install" in fault.hint


# --- the copy


@pytest.mark.parametrize("place", ["game", "several/new/folders", "."])
def test_what_is_shipped_is_copied_without_what_is_computed(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    copy_shipped_data(Path(place))
    assert _files(Path(place)) == SHIPPED


def test_a_read_only_installation_gives_a_folder_that_can_be_written(package: Path, tmp_path: Path) -> None:
    for path in (package / "_shipped").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    copy_shipped_data(tmp_path / "game")
    for path in (package / "_shipped").rglob("*"):
        path.chmod(0o755)
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "game").rglob("*"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["game", "several/new/folders", "empty"])
def test_a_copy_that_fails_leaves_nothing(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    root = tmp_path / "here"
    (root / "empty").mkdir(parents=True)
    copy = shipped.copy_file

    def fail_at_the_last(source: Path, target: Path) -> None:
        if source.name == "visual_style.yaml":
            raise error
        copy(source, target)

    monkeypatch.setattr(shipped, "copy_file", fail_at_the_last)
    with pytest.raises(StorageError if isinstance(error, OSError) else KeyboardInterrupt):
        copy_shipped_data(root / place)
    assert list(root.rglob("*")) == [root / "empty"]


@pytest.mark.parametrize("kind", ["file", "below a file", "full"])
def test_another_place_is_refused_and_stays_as_it_is(package: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "here"
    root.mkdir()
    (root / "mine").write_text("mine")
    target = {"file": root / "mine", "below a file": root / "mine/game", "full": root}[kind]
    (fault,) = faults_of(lambda: copy_shipped_data(target), SelectionError)
    assert fault.file == str(target)
    assert _files(root) == ["mine"]


def test_nothing_is_made_where_nothing_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_package", lambda: tmp_path / "sq_pipeline")
    with pytest.raises(StorageError):
        copy_shipped_data(tmp_path / "game")
    assert not (tmp_path / "game").exists()
