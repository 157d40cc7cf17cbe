"""A Mac is kept awake while it trains, by its own program; nothing is started elsewhere, and nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common.processes import awake
from sq_pipeline.common.processes.awake import kept_awake

_PATIENCE_S = 30
# in place of caffeinate: says who it is and what it was asked for, and ends with the process that is named
_PROGRAM = """#!{python}
import os, pathlib, sys, time
told = pathlib.Path({told!r})
with told.open("a") as file:
    file.write(f"{{os.getpid()}} {{' '.join(sys.argv[1:])}}\\n")
watched = int(sys.argv[-1])
while True:
    try:
        os.kill(watched, 0)
    except ProcessLookupError:
        break
    time.sleep(0.05)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "caffeinate"
    path.write_text(_PROGRAM.format(python=sys.executable, told=str(tmp_path / "told")))
    path.chmod(0o755)
    return path


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def started(tmp_path: Path) -> list[list[str]]:
    told = tmp_path / "told"
    return [line.split() for line in told.read_text().splitlines()] if told.exists() else []


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_on_a_mac_it_runs_as_long_as_the_block(program: Path, tmp_path: Path) -> None:
    keepers = {"darwin": (str(program), "-i", "-w")}
    with kept_awake("darwin", keepers):
        eventually(lambda: bool(started(tmp_path)))
        ((pid, *asked),) = started(tmp_path)
        assert asked == ["-i", "-w", str(os.getpid())]
        with kept_awake("darwin", keepers):  # a training inside a run that trains
            pass
        assert not is_gone(int(pid))
    assert is_gone(int(pid))
    assert len(started(tmp_path)) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_it_ends_however_the_block_does(error: type[BaseException], program: Path, tmp_path: Path) -> None:
    def work() -> None:
        with kept_awake("darwin", {"darwin": (str(program), "-w")}):
            eventually(lambda: bool(started(tmp_path)))
            raise error

    with pytest.raises(error):
        work()
    assert is_gone(int(started(tmp_path)[0][0]))


def test_it_is_not_left_behind_by_a_process_that_is_killed(program: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom sq_pipeline.common.processes.awake import kept_awake\n"
        "with kept_awake('darwin', {'darwin': (sys.argv[1], '-i', '-w')}): time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(program)])
    eventually(lambda: bool(started(tmp_path)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: is_gone(int(started(tmp_path)[0][0])))


@pytest.mark.parametrize("platform", ["linux", "win32", "freebsd14", "cygwin", "", "Darwin"])
def test_elsewhere_nothing_is_started(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake.subprocess, "Popen", lambda *_, **__: pytest.fail("something was started"))
    with kept_awake(platform):
        pass


def test_a_mac_without_the_program_works_as_well(tmp_path: Path) -> None:
    with kept_awake("darwin", {"darwin": (str(tmp_path / "none"), "-i")}):
        pass


def test_only_a_mac_has_one_and_by_its_whole_path() -> None:
    assert awake._KEEPERS == {"darwin": ("/usr/bin/caffeinate", "-i", "-w")}  # type: ignore[reportPrivateUsage]
