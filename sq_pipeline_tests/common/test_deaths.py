"""How a process was ended, in a line: its own words by the watcher, a child's by its exit code."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sq_pipeline.common.processes.deaths import describe_exit, describe_signal, read_death, told_of_death

_DYING = """
import os, signal, sys, time
from pathlib import Path
from sq_pipeline.common.processes.deaths import goes_on_after, telling_where_it_goes_on, told_of_death
with told_of_death("the run", Path(sys.argv[2]), print):
    with told_of_death("something inside"):
        pass
    with telling_where_it_goes_on("begins this training anew"):
        if int(sys.argv[3]):
            goes_on_after(int(sys.argv[3]))
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(60)
"""


def die(number: int, note: Path, iteration: int = 4, command: str = _DYING) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-c", command, str(number), str(note), str(iteration)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["ABRT", "SEGV", "BUS", "ILL", "FPE", "KILL", "TERM"])
def test_a_process_that_a_signal_ends_is_told_of_in_one_line(name: str, tmp_path: Path) -> None:
    note, number = tmp_path / "note", signal.Signals[f"SIG{name}"]
    done = die(number, note)
    assert done.returncode == -number
    (line,) = done.stderr.splitlines()
    assert describe_signal(number) in line
    assert line.startswith("the run (process ")
    assert line.endswith("; the next run goes on after iteration 4")
    assert read_death(note) == line
    # the next one tells it again, to whom did not see it
    said: list[str] = []
    with told_of_death("the run", note, said.append):
        assert read_death(note) is None
    assert said == [f"before this, {line}"]
    assert not note.exists()


def test_without_a_checkpoint_it_is_said_that_there_is_none(tmp_path: Path) -> None:
    assert die(signal.SIGABRT, tmp_path / "note", 0).stderr.endswith("; the next run begins this training anew\n")


def test_a_training_that_diverged_is_not_said_to_go_on(tmp_path: Path) -> None:
    """Others of the run come after it."""
    later = _DYING.replace("        os.kill", "        raise DivergedError('it diverged')\n    os.kill")
    later = later.replace("        time.sleep", "    time.sleep")
    later = later.replace("    with telling", "    with suppress(DivergedError), telling")
    later = "from contextlib import suppress\nfrom sq_pipeline.common.errors import DivergedError\n" + later
    told = die(signal.SIGABRT, tmp_path / "note", 4, later).stderr
    assert told.endswith("; what was finished is kept, and the next run goes on from it\n"), told


def test_where_nobody_could_tell_the_next_start_does(tmp_path: Path) -> None:
    """A machine that stops takes the watcher along."""
    note = tmp_path / "note"
    note.write_text("at work: the run (process 7, since 01:02:03)\n")
    said: list[str] = []
    with told_of_death("the run", note, said.append):
        pass
    (line,) = said
    assert "the run (process 7, since 01:02:03) ended without a word" in line


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_an_end_in_order_says_and_leaves_nothing(end: str, tmp_path: Path) -> None:
    script = _DYING.split("    with told", maxsplit=1)[0] + f"    {end}\n"
    done = die(0, tmp_path / "note", command=script)
    assert "ended" not in done.stdout + done.stderr
    assert not (tmp_path / "note").exists()


def test_nothing_is_left_in_this_process(tmp_path: Path) -> None:
    was_enabled, handler = faulthandler.is_enabled(), signal.getsignal(signal.SIGTERM)
    before = len(list(Path("/dev/fd").iterdir()))
    with told_of_death("the run", tmp_path / "note"):
        pass
    assert (faulthandler.is_enabled(), signal.getsignal(signal.SIGTERM)) == (was_enabled, handler)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_watcher_that_is_gone_stops_no_work(tmp_path: Path) -> None:
    with told_of_death("the run", tmp_path / "note"):
        found = subprocess.run(["pgrep", "-P", str(os.getpid()), "sh"], capture_output=True, text=True, check=False)
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)
    assert not (tmp_path / "note").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "ended by SIGKILL (often: memory ran out"),
        (-6, "ended by SIGABRT (often: native code gave up: a Metal error, such as macOS's GPU watchdog"),
        (-4, "SIGILL (often: an instruction that this processor does not have"),
        (-11, "SIGSEGV"),
        (-10 if sys.platform == "darwin" else -7, "SIGBUS (often: memory that ran out, a full disk"),
        (-200, "signal 200"),
        (134, "ended with 134, as by SIGABRT"),
        (137, "ended with 137, as by SIGKILL"),
        (0, None),
        (1, None),
        (3, None),
        (128, None),
        (130, None),  # Ctrl-C is no accident
        (255, None),
    ],
)
def test_exit_codes(code: int, words: str | None) -> None:
    told = describe_exit(code)
    assert told is None if words is None else told is not None and words in told
