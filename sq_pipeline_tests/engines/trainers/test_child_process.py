"""A child process: what it said last, how it ended, and that it ends when nobody waits for it any more."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from sq_pipeline.common.processes.deaths import describe_signal
from sq_pipeline.common.processes.guarded_process import CannotStart, ChildResult, run_child


def run(script: str, folder: Path, on_tick=lambda: False) -> ChildResult:
    return run_child([sys.executable, "-c", script], folder, os.environ, folder / "log", on_tick)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("print('one'); print('two')", ("one", "two")),
        (
            "import sys; sys.stderr.write('10%|#| 1/10\\r20%|##| 2/10\\rthree')",
            ("10%|#| 1/10", "20%|##| 2/10", "three"),
        ),
        ("", ()),
        ("import sys; print('a', flush=True); sys.stderr.write('b\\n'); print('c')", ("a", "b", "c")),
    ],
)
def test_all_that_it_says_is_in_the_log(script: str, lines: tuple[str, ...], tmp_path: Path) -> None:
    result = run(script, tmp_path)
    assert (result.last_lines, result.exit_code) == (lines, 0)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; print('why', flush=True); print(' 5%|#| 1/20', file=sys.stderr); sys.exit(3)", "why"),
        ("raise RuntimeError('what')", "RuntimeError: what"),
        ("import sys; sys.exit(4)", "exit code 4 without a word"),
        ("import os; os.kill(os.getpid(), 15)", f"ended by {describe_signal(signal.SIGTERM)}"),
        # an `mlx_examples.python` may be a script that runs one
        ("import sys; sys.exit(137)", f"ended with 137, as by {describe_signal(signal.SIGKILL)}"),
    ],
)
def test_its_last_words(script: str, words: str, tmp_path: Path) -> None:
    assert run(script, tmp_path).last_words == words


@pytest.mark.parametrize("how", ["seen enough", "interrupted"])
def test_it_ends_when_nobody_waits_for_it(how: str, tmp_path: Path) -> None:
    place = tmp_path / "child"
    script = "import os, pathlib, time; pathlib.Path('child').write_text(str(os.getpid())); time.sleep(100)"

    def on_tick() -> bool:
        while not place.exists() or not place.read_text():
            time.sleep(0.02)
        if how == "interrupted":
            raise KeyboardInterrupt
        return True

    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            run(script, tmp_path, on_tick)
    else:
        assert run(script, tmp_path, on_tick).exit_code is None
    assert not is_running(int(place.read_text()))


def test_what_is_not_there_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(CannotStart):
        run_child(["/no/such/program"], tmp_path, os.environ, tmp_path / "log", lambda: False)
