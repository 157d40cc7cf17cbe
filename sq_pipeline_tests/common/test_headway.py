"""A child that is stopped, or says nothing, is told of once and waited for. Real processes, a clock of the test's."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sq_pipeline.common.processes.guarded_process import run_child, run_guarded
from sq_pipeline.common.processes.headway import Headway, Watch, is_stopped
from sq_pipeline_tests.common.stops import STOPS, CarriesOut

_NO_PROC = Path("/nowhere")


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def go_on(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGCONT)
    _, status = os.waitpid(process.pid, os.WCONTINUED)
    assert os.WIFCONTINUED(status)


@pytest.mark.parametrize("proc", [Path("/proc"), _NO_PROC], ids=["proc", "ps"])
def test_a_process_that_was_stopped_is_known_until_it_goes_on(child: "subprocess.Popen[bytes]", proc: Path) -> None:
    assert not is_stopped(child.pid, proc)
    stop(child)
    assert is_stopped(child.pid, proc)
    go_on(child)
    assert not is_stopped(child.pid, proc)
    child.kill()
    child.wait()
    assert not is_stopped(child.pid, proc)


def test_where_nothing_tells_it_is_not_stopped(
    child: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stop(child)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_stopped(child.pid, _NO_PROC)


def test_each_stop_is_told_once_with_the_way_out(child: "subprocess.Popen[bytes]") -> None:
    headway = Headway(Watch("the trainer"), child.pid, None)
    told = f"the trainer (process {child.pid}) waits: it is stopped; `kill -CONT {child.pid}` lets it go on"
    assert headway.look(0) is None
    stop(child)
    assert [headway.look(now) for now in (5, 10, 15)] == [told, None, None]
    go_on(child)
    assert headway.look(20) is None
    stop(child)
    assert headway.look(25) == told


def test_a_silence_is_told_once_until_a_word_comes(child: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\n")
    headway = Headway(Watch("the trainer", silence_s=600), child.pid, log)
    told = (
        f"the trainer (process {child.pid}) has said nothing for 10 minutes, and is waited for; its output is in {log}"
    )
    assert [headway.look(now) for now in (1000, 1599)] == [None, None]
    assert [headway.look(now) for now in (1600, 1700, 9000)] == [told, None, None]
    log.write_text("one\ntwo\n")
    assert [headway.look(now) for now in (9001, 9600)] == [None, None]
    assert headway.look(9601) == told


def test_a_process_that_is_stopped_is_not_silent_too(child: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    headway = Headway(Watch("the trainer", silence_s=600), child.pid, tmp_path / "log")
    stop(child)
    assert "is stopped" in str(headway.look(0))
    assert headway.look(5000) is None
    go_on(child)
    assert [headway.look(5001), headway.look(5599)] == [None, None]
    assert "said nothing" in str(headway.look(5600))


def test_without_a_limit_silence_is_not_told(child: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    headway = Headway(Watch("the trainer"), child.pid, tmp_path / "log")
    assert [headway.look(0), headway.look(10**9)] == [None, None]


_LONGEST_S = 60  # a test that fails ends


def test_a_child_that_stops_is_told_of_and_goes_on_as_is_said(tmp_path: Path) -> None:
    say = CarriesOut()
    watch = Watch("the trainer", say, look_s=0.05)
    command = [sys.executable, "-c", STOPS]
    with run_guarded(command, tmp_path, os.environ, tmp_path / "log", watch=watch) as process:
        assert process.wait_for(_LONGEST_S) == 0
    assert (tmp_path / "log").read_text() == "a\nb\n"
    (line,) = say.told
    assert line.startswith("the trainer (process ")


def test_a_child_whose_lines_are_read_is_watched_too(tmp_path: Path) -> None:
    say = CarriesOut()
    watch = Watch("the trainer", say, look_s=0.05)
    command = [sys.executable, "-c", STOPS]
    with run_guarded(command, tmp_path, os.environ, tmp_path / "log", reads_lines=True, watch=watch) as process:
        killer = threading.Timer(_LONGEST_S, process._child.kill)
        killer.start()
        assert list(process.lines()) == ["a", "b"]
        killer.cancel()
    assert len(say.told) == 1


def test_a_child_with_ticks_is_watched_too(tmp_path: Path) -> None:
    say, ticks = CarriesOut(), 0

    def tick() -> bool:
        nonlocal ticks
        ticks += 1
        return ticks > 4 * _LONGEST_S

    watch = Watch("the trainer", say, look_s=0.05)
    result = run_child([sys.executable, "-c", STOPS], tmp_path, os.environ, tmp_path / "log", tick, watch)
    assert (result.exit_code, result.last_lines) == (0, ("a", "b"))
    assert len(say.told) == 1
