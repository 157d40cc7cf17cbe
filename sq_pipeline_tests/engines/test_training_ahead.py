"""Trainings in processes of their own: as many as are allowed, waited for, and gone when nobody wants them any more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from sq_pipeline.common.processes.headway import Watch
from sq_pipeline.common.processes.passed_on import Passed, Reads
from sq_pipeline.common.processes.progress import Progress, shown_by
from sq_pipeline.engines import training_ahead
from sq_pipeline.engines.training_ahead import CommandOf, TrainingAhead
from sq_pipeline_tests.common.stops import STOPS, CarriesOut

_PATIENCE_S = 60
# writes its number into a file named after the training, and stays until a file lets it go
_SCRIPT = """
import os, pathlib, sys, time
folder, key = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / f"{key}.new").write_text(str(os.getpid()))
(folder / f"{key}.new").rename(folder / f"{key}.pid")
while not (folder / f"{key}.go").exists():
    time.sleep(0.02)
sys.exit((folder / f"{key}.go").read_text() or 0)
"""


def command(folder: Path) -> CommandOf:
    def command_of(key: str, fingerprint: str, *, is_last: bool) -> list[str]:
        if is_last:
            (folder / f"{key}.last").touch()
        return [sys.executable, "-c", _SCRIPT, str(folder), key]

    return command_of


def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid_of(folder: Path, key: str) -> int:
    eventually((folder / f"{key}.pid").exists)
    return int((folder / f"{key}.pid").read_text())


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_next_begins_when_one_has_ended_and_one_that_is_wanted_here_does_not(tmp_path: Path) -> None:
    ahead = TrainingAhead(command(tmp_path), 1, lambda _: None)
    ahead.begin([("one", "f1"), ("two", "f2"), ("three", "f3")])
    ahead.begin([("one", "f1"), ("two", "f2")])  # a later step of the run names them again
    pid_of(tmp_path, "one")
    ahead.await_end("f2")  # it waits its turn: whoever wants it trains it
    (tmp_path / "one.go").touch()
    ahead.await_end("f1")
    pid_of(tmp_path, "three")
    (tmp_path / "three.go").touch()
    ahead.await_end("f3")
    ahead.close()
    assert sorted(path.stem for path in tmp_path.glob("*.pid")) == ["one", "three"]
    assert [path.stem for path in tmp_path.glob("*.last")] == ["three"]


def test_what_still_runs_ends_with_the_run_and_can_begin_again(tmp_path: Path) -> None:
    ahead = TrainingAhead(command(tmp_path), 2, lambda _: None)
    ahead.begin([("one", "f1"), ("two", "f2")])
    pids = [pid_of(tmp_path, "one"), pid_of(tmp_path, "two")]
    assert len(list(tmp_path.glob("*.last"))) == 2
    ahead.close()
    assert all(map(is_gone, pids))
    (tmp_path / "one.pid").unlink()
    ahead.begin([("one", "f1")])
    again = pid_of(tmp_path, "one")
    ahead.close()
    assert is_gone(again)


def test_one_that_fails_is_told_of_and_left_to_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    ahead = TrainingAhead(command(tmp_path), 1, said.append)
    ahead.begin([("one", "f1")])
    pid_of(tmp_path, "one")
    (tmp_path / "one.go").write_text("the disk is full")
    ahead.await_end("f1")
    ahead.close()
    told = "one: the training in a process of its own ended early"
    assert said == [f"{told} (the disk is full); it goes on here, after its last checkpoint"]


def test_one_that_a_signal_ended_is_told_of_by_the_signal_s_name(tmp_path: Path) -> None:
    said: list[str] = []
    ahead = TrainingAhead(command(tmp_path), 1, said.append)
    ahead.begin([("one", "f1")])
    os.kill(pid_of(tmp_path, "one"), signal.SIGKILL)
    ahead.await_end("f1")
    ahead.close()
    assert len(said) == 1
    assert "ended by SIGKILL (often: memory ran out" in said[0]


def test_one_that_is_stopped_is_told_of_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_ahead, "Watch", partial(Watch, look_s=0.05))
    say = CarriesOut()
    ahead = TrainingAhead(lambda *_, **__: [sys.executable, "-c", STOPS], 1, say)
    ahead.begin([("one", "f1")])
    eventually(lambda: bool(say.told))
    ahead.await_end("f1")
    ahead.close()
    (told,) = say.told  # it ended in order
    assert told.startswith("one: the training in a process of its own (process ")


def test_its_warnings_are_told(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import sys; sys.stderr.write('a note\\nwarning: no sample after iteration 4\\n')"
    ahead = TrainingAhead(lambda *_, **__: [sys.executable, "-c", script], 1, said.append)
    ahead.begin([("one", "f1")])
    eventually(lambda: bool(said))
    ahead.close()
    assert said == ["one: warning: no sample after iteration 4"]


class _Shows:
    """Remembers all that was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, str]] = []
        self.ended: list[str] = []

    def begin(self, progress: Progress) -> None:
        self.change(progress)

    def change(self, progress: Progress) -> None:
        self.seen.append((progress.what, progress.done, progress.total, progress.note))

    def end(self, progress: Progress) -> None:
        self.ended.append(progress.what)


def test_who_waits_for_one_sees_how_far_it_is(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from sq_pipeline.common.processes.passed_on import PassesOn
from sq_pipeline.common.processes.progress import progress_of, shown_by
with shown_by(PassesOn()):
    for what in ("training west", "scoring west"):
        with progress_of(what, 8) as shown:
            time.sleep(0.6)
            shown.reach(5, "loss 0.2")
            while not pathlib.Path({str(tmp_path)!r}, what).exists():
                time.sleep(0.02)
"""
    said: list[str] = []
    ahead = TrainingAhead(lambda *_, **__: [sys.executable, "-c", script], 1, said.append)
    ahead.begin([("west", "f1")])
    shows = _Shows()

    def let_go_when_seen() -> None:
        for what in ("training west", "scoring west"):
            eventually(lambda what=what: (what, 5, 8, "loss 0.2") in shows.seen)
            (tmp_path / what).touch()

    with ThreadPoolExecutor() as threads, shown_by(shows):
        letting_go = threads.submit(let_go_when_seen)
        ahead.await_end("f1")
        letting_go.result()
    ahead.close()
    assert shows.ended == ["training west", "scoring west"]
    assert said == []


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log, reads = tmp_path / "log", Reads(tmp_path / "log")
    line = 'progress: {"what": "t", "done": 1, "total": 2, "note": "", "left_s": null}\n'
    log.write_text(f"warning: a sample failed\n{line[:30]}")
    assert reads.latest() is None
    with log.open("a") as file:
        file.write(line[30:])
    assert reads.latest() == Passed("t", 1, 2, "", None)
    assert reads.latest() is None
    with log.open("a") as file:
        file.write(f'{line}progress: {{"what": "t", warning: a library speaks\nprogress: {{"done": 2}}\nprogress: []\n')
    assert reads.latest() == Passed("t", 1, 2, "", None)  # what something else wrote into is left out


def test_on_one_core_nothing_begins(tmp_path: Path) -> None:
    ahead = TrainingAhead(command(tmp_path), 0, lambda _: None)
    ahead.begin([("one", "f1")])
    ahead.await_end("f1")
    ahead.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_none_outlives_the_process_that_began_it(number: signal.Signals, tmp_path: Path) -> None:
    parent = (
        "import sys, time; from pathlib import Path\n"
        "from sq_pipeline_tests.engines.test_training_ahead import TrainingAhead, command\n"
        "ahead = TrainingAhead(command(Path(sys.argv[1])), 1, print); ahead.begin([('one', 'f1')]); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, str(tmp_path)])
    pid = pid_of(tmp_path, "one")
    process.send_signal(number)
    process.wait()
    eventually(lambda: is_gone(pid))
