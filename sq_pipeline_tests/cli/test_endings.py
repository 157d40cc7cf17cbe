"""What the system or a database refused ends a command in one line; a bug of ours keeps its traceback."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from sq_pipeline import cli
from sq_pipeline.common.endings import explain_end
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.parts import rest_is_long
from sq_pipeline_tests.pipeline.fast import write_game

COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))


def refusal(code: int, file: str | None = "/d/store/x") -> OSError:
    return OSError(code, os.strerror(code), file)


def wrapped(inner: BaseException, *, is_cause: bool) -> BaseException:
    try:
        try:
            raise inner
        except BaseException as error:
            if is_cause:
                raise RuntimeError("a step failed") from error
            raise RuntimeError("a step failed")  # noqa: B904
    except RuntimeError as outer:
        return outer


def of_dagster(text: str) -> OperationalError:
    inner = sqlite3.OperationalError(text)
    error = OperationalError("SELECT 1", {}, inner)
    error.__cause__ = inner
    return error


# what reaches the end, and what is said of it: the problem, words of the way out
ENDS: dict[str, tuple[BaseException, str, str]] = {
    "a full disk": (refusal(errno.ENOSPC), "the disk is full", "free some space"),
    "a full quota": (refusal(errno.EDQUOT), "the disk is full", "free some space"),
    "a full disk that names no file": (refusal(errno.ENOSPC, None), "the disk is full", "free some space"),
    "a read-only disk": (refusal(errno.EROFS), "cannot be used (Read-only file system)", "mounted read-only"),
    "not allowed": (refusal(errno.EACCES), "cannot be used (Permission denied)", "permissions"),
    "not permitted": (refusal(errno.EPERM), "cannot be used (Operation not permitted)", "permissions"),
    "a disk that fails": (refusal(errno.EIO), "cannot be used (Input/output error)", "check the disk"),
    "a network disk that is gone": (refusal(errno.ESTALE), "cannot be used (Stale file handle)", "check the disk"),
    "too many open files": (refusal(errno.EMFILE), "cannot be used (Too many open files)", "ulimit -n"),
    "as a cause": (wrapped(refusal(errno.ENOSPC), is_cause=True), "the disk is full", "free some space"),
    "in passing": (wrapped(refusal(errno.EROFS), is_cause=False), "cannot be used (Read-only", "permissions"),
    "a full database": (of_dagster("database or disk is full"), "the disk is full", "free some space"),
    "a locked database": (of_dagster("database is locked"), "another process keeps a database", "wait for it"),
    "a read-only database": (of_dagster("attempt to write a readonly database"), "cannot be written", "permissions"),
    "a malformed database": (of_dagster("database disk image is malformed"), "is damaged", "history of runs"),
    "no database": (sqlite3.DatabaseError("file is not a database"), "is damaged", "history of runs"),
    "another one's database": (of_dagster("no such column: x"), "cannot be used (no such column", "history of runs"),
}


@pytest.mark.parametrize("case", ENDS)
def test_it_is_one_line_with_the_way_out(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error, problem, way_out = ENDS[case]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    def app(**_: bool) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli, "insist_on_interrupts", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert problem in line
    assert way_out in line


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError(2, "No such file", "x"), KeyError("x")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    assert explain_end(error) is None


def test_whatever_sqlite_calls_it_a_full_disk_is_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    fault = explain_end(of_dagster("disk I/O error"))
    assert fault is not None
    assert fault.problem == "the disk is full"


@pytest.mark.parametrize("file", rest_is_long(["history/runs.db", "schedules/schedules.db"], "history/runs.db"))
def test_the_damaged_database_is_named_and_the_way_out_works(file: str, tmp_path: Path, shipped: DataDir) -> None:
    data = link_shipped(tmp_path / "data", shipped)
    write_game(data)
    with open_instance(data):
        pass
    damaged = data.dagster_home / file
    damaged.write_bytes(b"no database, but a text that is long enough" * 99)
    ended = subprocess.run([COMMAND, "run", "--data", data.root], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    home = data.dagster_home
    assert line == f"error: {damaged}: is damaged; move {home} away: {line.partition(' away: ')[2]}"
    home.rename(tmp_path / "away")
    with open_instance(data) as instance:
        assert instance.get_runs() == []
