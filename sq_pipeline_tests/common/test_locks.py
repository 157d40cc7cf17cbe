"""Who waits for a lock is told once who holds it, with its command, since when, and the way out where it is stopped."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sq_pipeline.common import locks
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_instance_lock, hold_run_lock

HOLD = """
import sys
from pathlib import Path
from sq_pipeline.common import locks
from sq_pipeline.common.layout import DataDir
with getattr(locks, sys.argv[2])(DataDir(Path(sys.argv[1])), print):
    print("held", flush=True)
    sys.stdin.read()
"""
Lock = Callable[[DataDir, locks.Say], AbstractContextManager[None]]
LOCKS: list[tuple[Lock, str]] = [
    (hold_instance_lock, "is opening Dagster's records of this data directory; waiting for it to end"),
    (hold_run_lock, "is running on this data directory; waiting for it to end"),
]
IDS = ["instance", "run"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    monkeypatch.setattr(locks, "_OPENING_S", 0.05)
    return DataDir(tmp_path / "data")


@pytest.fixture
def start(place: DataDir, tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts a process that holds the lock of this name until its stdin ends."""
    script, started = tmp_path / "hold_it.py", list["subprocess.Popen[str]"]()
    script.write_text(HOLD)

    def begin(name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(script), str(place.root), name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("lock", "does"), LOCKS, ids=IDS)
def test_who_holds_a_lock_is_said_once(
    lock: Lock, does: str, place: DataDir, start: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder, said = start(lock.__name__), list[str]()

    def let_go(line: str) -> None:
        said.append(line)
        holder.communicate()

    with lock(place, let_go):
        pass
    (line,) = said
    command = re.escape(f"hold_it.py {place.root}"[:60])
    assert re.fullmatch(rf"process {holder.pid} \({command}.*, since \d\d:\d\d:\d\d\) {re.escape(does)}", line)


@pytest.mark.parametrize(("lock", "does"), LOCKS, ids=IDS)
def test_one_that_was_stopped_is_told_with_the_way_out(
    lock: Lock, does: str, place: DataDir, start: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    holder = start(lock.__name__)
    holder.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(holder.pid, os.WUNTRACED)[1])
    said: list[str] = []

    def go_on(line: str) -> None:
        said.append(line)
        (way,) = re.findall(r"it is stopped; `(kill -CONT \d+)` lets it go on", line)
        subprocess.run(shlex.split(way), check=True)
        holder.communicate()

    with lock(place, go_on):
        pass
    (line,) = said
    assert line.endswith(does)


@pytest.mark.parametrize("lock", [lock for lock, _ in LOCKS], ids=IDS)
def test_nobody_is_told_of_a_lock_that_is_free_or_ones_own(lock: Lock, place: DataDir) -> None:
    said: list[str] = []
    with lock(place, said.append), lock(place, said.append):
        pass
    assert said == []


def test_a_command_is_one_short_line(monkeypatch: pytest.MonkeyPatch, place: DataDir) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python", "/a/bin/sq-pipeline", "run", "--data", "a\nb" * 40])
    with hold_instance_lock(place):
        (line,) = (place.store_root / "instance.holder").read_text().splitlines()
    assert line.startswith(f"process {os.getpid()} (sq-pipeline run --data a\\nba\\nb")
    assert "…, since " in line
    assert len(line) < 110
