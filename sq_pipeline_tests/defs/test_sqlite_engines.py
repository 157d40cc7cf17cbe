"""One engine a file, and only where Dagster makes them as it does now."""

from pathlib import Path
from typing import Any

import pytest
from dagster._core.storage.event_log.sqlite import sqlite_event_log

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs import sqlite_engines
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.sqlite_engines import keep_engines


def make(path: Path, **options: Any) -> Any:
    return vars(sqlite_event_log)["create_engine"](f"sqlite:///{path}", **options)


def test_an_opened_instance_makes_one_engine_a_file_and_options(tmp_path: Path) -> None:
    with open_instance(DataDir(tmp_path)):
        engine = make(tmp_path / "one", connect_args={"timeout": 3})
        assert make(tmp_path / "one", connect_args={"timeout": 3}) is engine
        assert make(tmp_path / "one", connect_args={"timeout": 4}) is not engine
        assert make(tmp_path / "other", connect_args={"timeout": 3}) is not engine


def test_again_changes_nothing() -> None:
    keep_engines()
    kept = vars(sqlite_event_log)["create_engine"]
    keep_engines()
    assert vars(sqlite_event_log)["create_engine"] is kept


def test_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_engines()
    monkeypatch.setattr(sqlite_engines, "_MOST_KEPT", 2)
    first = make(tmp_path / "first")
    for name in ("second", "third"):
        make(tmp_path / name)
    assert make(tmp_path / "first") is not first


@pytest.mark.parametrize(("name", "value"), [("_NAME", "make_engine"), ("_MODULES", ("event_log.elsewhere",))])
def test_another_dagster_is_left_as_it_is(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_engines, name, value)
    keep_engines()
