"""Dagster's event files while a process makes several runs: what is in them, and when they are settled."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from dagster import DagsterInstance, job, op

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs import event_files as module
from sq_pipeline.defs.event_files import event_files
from sq_pipeline.defs.instance import open_instance


@op
def nothing() -> None: ...


@job
def alone() -> None:
    nothing()


def contents(path: Path) -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return [tables, revision, connection.execute("PRAGMA journal_mode").fetchone()]


def file_of(instance: DagsterInstance, run_id: str) -> Path:
    return Path(instance.event_log_storage.path_for_shard(run_id))  # type: ignore[attr-defined]


def test_the_copied_file_is_the_one_that_dagster_makes_and_takes_a_run(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    with open_instance(data) as instance, event_files(instance) as new_run:
        first, second = new_run(), new_run()
        own = file_of(instance, alone.execute_in_process(instance=instance).run_id)
        before = [contents(file_of(instance, run)) for run in (first, second)]
        assert before == [contents(own)] * 2
        for run in (first, second):
            assert alone.execute_in_process(instance=instance, run_id=run).success
    with open_instance(data) as instance:
        told = [len(instance.all_logs(run)) for run in (first, second)]
    assert told[0] == told[1] > 5


def test_a_file_is_settled_at_the_end_and_not_after_each_event(tmp_path: Path) -> None:
    with open_instance(DataDir(tmp_path)) as instance:
        with event_files(instance) as new_run:
            run = new_run()
            alone.execute_in_process(instance=instance, run_id=run)
            logs = [file_of(instance, name).with_name(f"{name}.db-wal") for name in (run, "index")]
            assert logs[0].stat().st_size > 0
            assert logs[1].exists()
        assert [log.exists() for log in logs] == [False, False]


def test_events_that_are_kept_elsewhere_need_no_file() -> None:
    with DagsterInstance.ephemeral() as instance, event_files(instance) as new_run:
        run = new_run()
        assert alone.execute_in_process(instance=instance, run_id=run).run_id == run


def test_a_disk_that_takes_no_copy_leaves_the_file_to_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    with open_instance(DataDir(tmp_path)) as instance, event_files(instance) as new_run:
        new_run()
        monkeypatch.setattr(module, "write_bytes", refuse)
        assert alone.execute_in_process(instance=instance, run_id=new_run()).success
