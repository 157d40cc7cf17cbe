"""Versions of files kept before they are replaced: all of them, under names of their own, or an error in one line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common import archive, fingerprints
from sq_pipeline.common.archive import archive_edited, archive_version
from sq_pipeline.common.errors import StorageError
from sq_pipeline_tests.builders import faults_of


def test_every_version_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "mill.png"
    for content in (b"one", b"two", b"one"):
        path.write_bytes(content)
        assert archive_version(path).read_bytes() == content
    assert len(list((tmp_path / "archive").iterdir())) == 2


def _other_file(place: Path) -> None:
    place.write_bytes(b"something else")


def _link_to_the_same(place: Path) -> None:
    place.symlink_to(place.parents[1] / "mill.png")


TAKEN: dict[str, Callable[[Path], None]] = {
    "another file": _other_file,
    "a folder": Path.mkdir,
    "a pipe": lambda place: os.mkfifo(place),
    "a link to the file itself": _link_to_the_same,
    "a link to nothing": lambda place: place.symlink_to("nowhere"),
    "a loop of links": lambda place: place.symlink_to(place.name),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_name_that_something_else_has_gets_longer(case: str, tmp_path: Path) -> None:
    path = tmp_path / "mill.png"
    path.write_bytes(b"one")
    digits = fingerprints.short(fingerprints.hash_bytes(b"one"), 16)
    taken = tmp_path / "archive" / f"mill.{digits[:8]}.png"
    taken.parent.mkdir()
    TAKEN[case](taken)
    before = taken.lstat()
    kept = archive_version(path)
    assert kept.name == f"mill.{digits}.png"
    assert kept.read_bytes() == b"one"
    assert (taken.lstat().st_mode, taken.lstat().st_size) == (before.st_mode, before.st_size)
    assert archive_version(path) == kept


def _deny(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Nobody may read the file; tests may run as one who may read all."""
    right = Path.open

    def refuse(self: Path, *args: object, **named: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return right(self, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)


def _loop(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _folder(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _gone(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.unlink()


UNREADABLE = {"not allowed": _deny, "a loop of links": _loop, "a folder": _folder, "gone": _gone}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mill.png"
    path.write_bytes(b"one")
    UNREADABLE[case](monkeypatch, path)
    (fault,) = faults_of(lambda: archive_version(path), StorageError)
    assert (fault.file, fault.problem.partition(" (")[0]) == (str(path), "cannot be read")
    assert not (tmp_path / "archive").exists()


def test_an_edited_text_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "west.yaml"
    path.write_text("ours")
    assert archive_edited(path, "ours") is None
    _deny(monkeypatch, path)
    (fault,) = faults_of(lambda: archive_edited(path, "ours"), StorageError)
    assert fault.problem.startswith("cannot be read (Permission denied)")


@pytest.mark.parametrize("where", ["archive is a file", "no folder above it", "archive is a link to nothing"])
def test_a_folder_that_cannot_be_made_is_one_line(where: str, tmp_path: Path) -> None:
    path = tmp_path / "mill.png"
    path.write_bytes(b"one")
    folder = tmp_path / "archive"
    if where == "archive is a file":
        folder.write_text("notes")
    elif where == "archive is a link to nothing":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder = tmp_path / "not" / "there"
    (fault,) = faults_of(lambda: archive_version(path, folder), StorageError)
    assert fault.problem.startswith("cannot be written (")
    assert fault.hint
    assert path.read_bytes() == b"one"


def test_the_longest_name_is_the_last_one(tmp_path: Path) -> None:
    assert archive._DIGITS[-1] == len(fingerprints.hash_bytes(b"").removeprefix("sha256:"))
