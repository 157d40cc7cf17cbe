"""A tick that cannot look says so in plain words, each sensor of its own; a bug keeps its traceback."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from sq_pipeline.common.errors import BaseModelError, Fault, KeymapError, StorageError
from sq_pipeline.pipeline.context import Context
from sq_pipeline_tests.defs.ticks import Ticks
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.game import Game

SENSORS = ("content", "adapters", "night")


@pytest.fixture
def ticks(done: Game) -> Ticks:
    return Ticks(done)


def _write(name: str, text: str) -> Callable[[Game], None]:
    def write(game: Game) -> None:
        path = game.data.root / name
        if path.parent.is_symlink():  # the shipped files, by link
            shipped = path.parent.resolve()
            path.parent.unlink()
            shutil.copytree(shipped, path.parent)
        path.write_text(text, encoding="utf-8")

    return write


def _spoil_store(game: Game) -> None:
    for path in game.data.store_root.glob("records.sqlite*"):
        path.unlink()
    (game.data.store_root / "records.sqlite").mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_write("sq.yaml", "- a\n"), ["sq.yaml"]),
        (_write("sq.yaml", "promotion: sometimes\n"), ["sq.yaml", "promotion"]),
        (_write("sq.yaml", "a: [\n"), ["sq.yaml"]),
        (_write("sq.yaml", "base_model: nobody\n"), []),
        (_write("keymaps/mlx-to-mflux.yaml", "- a\n"), []),
        (_write("verify_prompts/landscape.yaml", "- a\n"), []),
        (lambda game: shutil.rmtree(game.data.world_root("west", "paper")), []),
        (_spoil_store, []),
    ],
    ids=["a list", "a word", "no yaml", "base model", "keymap", "verify prompts", "a world is gone", "store"],
)
def test_what_is_broken_is_told_and_nothing_is_raised(
    ticks: Ticks, spoil: Callable[[Game], None], words: list[str]
) -> None:
    spoil(ticks.game)
    for sensor in SENSORS:
        requests, told = ticks.tick(sensor)
        assert not requests or not words
        assert all(word in told for word in words), (sensor, told)
        assert "Traceback" not in told


def _wrapped(inner: sqlite3.Error) -> OperationalError:
    outer = OperationalError("SELECT 1", {}, inner)
    outer.__cause__ = inner  # as SQLAlchemy raises it
    return outer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeymapError([Fault("a.yaml", "", "is broken", "mend it"), Fault("b.yaml", "", "too", "")]),
         "a.yaml: is broken; mend it\nb.yaml: too"),
        (BaseModelError(Fault("models/x", "", "is not here", "get it")), "models/x: is not here; get it"),
        (StorageError(Fault("store", "", "cannot be written", "check the disk")), "store: cannot be written"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/d/store/x"), "the disk is full; free some space"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/d/store/x"), "check the permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/d/content/x"),
         "/d/content/x: cannot be read (No such file or directory); the next tick looks again"),
        (_wrapped(sqlite3.OperationalError("unable to open database file")),
         "cannot be written (unable to open database file)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sensor", SENSORS)
def test_errors_in_the_middle_of_a_tick(
    ticks: Ticks, sensor: str, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(Context, "__init__", fail)
    requests, said = ticks.tick(sensor)
    assert not requests
    assert told in said
    assert ticks.logged == said.splitlines() or ticks.logged == [said]


def test_a_bug_keeps_its_traceback(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "__init__", lambda *_arguments, **_options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ticks.tick("content")


def test_it_goes_on_when_it_is_mended(ticks: Ticks) -> None:
    sound = ticks.game.data.settings_file.read_text()
    Path(ticks.game.data.settings_file).write_text("- a\n")
    assert "sq.yaml" in ticks.tick("content")[1]
    Path(ticks.game.data.settings_file).write_text(sound)
    assert ticks.tick("content") == ([], "everything is as it should be")
