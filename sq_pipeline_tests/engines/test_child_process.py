"""A child process: its lines, its end, and that nothing of it stays behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from sq_pipeline.engines.child_process import ChildResult, run_child


def run(script: str, folder: Path, on_tick=lambda: False, on_line=lambda _line: None) -> ChildResult:
    return run_child(
        [sys.executable, "-c", script], folder=folder, environment=os.environ, on_line=on_line, on_tick=on_tick
    )


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(path: Path) -> int:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return int(path.read_text())


def test_lines_come_as_they_are_said(tmp_path: Path) -> None:
    lines: list[str] = []
    script = (
        "import sys; print('one'); sys.stdout.flush(); sys.stderr.write('10%|#| 1/10\\r20%|##| 2/10\\rtwo\\nthree')"
    )
    result = run(script, tmp_path, on_line=lines.append)
    assert lines == ["one", "10%|#| 1/10", "20%|##| 2/10", "two", "three"]
    assert (result.exit_code, result.was_stopped, result.last_words) == (0, False, "three")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; print('why'); print(' 5%|#| 1/20', file=sys.stderr); sys.exit(3)", "why"),
        ("raise RuntimeError('what')", "RuntimeError: what"),
        ("import sys; sys.exit(4)", "exit code 4 without a word"),
        ("import os; os.kill(os.getpid(), 15)", "killed by SIGTERM"),
    ],
)
def test_its_last_words(script: str, words: str, tmp_path: Path) -> None:
    assert run(script, tmp_path).last_words == words


FAMILY = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
pathlib.Path("grandchild").write_text(str(child.pid)); pathlib.Path("child").write_text(str(os.getpid()))
time.sleep(100)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("how", ["stopped", "interrupted"])
def test_nothing_of_it_stays_behind(how: str, tmp_path: Path) -> None:
    def on_tick() -> bool:
        wait_for(tmp_path / "child")
        if how == "interrupted":
            raise KeyboardInterrupt
        return True

    if how == "stopped":
        assert run(FAMILY, tmp_path, on_tick).was_stopped
    else:
        with pytest.raises(KeyboardInterrupt):
            run(FAMILY, tmp_path, on_tick)
    assert not any(is_running(wait_for(tmp_path / name)) for name in ("child", "grandchild"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_the_training_process_ends_with_its_parent(tmp_path: Path) -> None:
    """Even one that was killed leaves no training behind."""
    import subprocess

    child = (
        "import os, pathlib, sys, time; sys.argv = ['x']\n"
        "from sq_pipeline.engines.mflux_train_process import end_with_parent\n"
        "end_with_parent(); pathlib.Path('child').write_text(str(os.getpid())); time.sleep(100)"
    )
    parent = (
        "import os, pathlib, sys\nfrom sq_pipeline.engines.child_process import run_child\n"
        f"run_child([sys.executable, '-c', {child!r}], folder=pathlib.Path('.'), environment=os.environ, "
        "on_line=print, on_tick=lambda: pathlib.Path('child').exists() and os.kill(os.getpid(), 9))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", parent], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == -9
    pid = wait_for(tmp_path / "child")
    for _ in range(100):
        if not is_running(pid):
            break
        time.sleep(0.05)
    assert not is_running(pid)
