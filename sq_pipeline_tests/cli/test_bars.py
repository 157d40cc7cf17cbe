"""Progress: on a terminal one line that fits, other output above it, nothing left of it; elsewhere no control codes."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from fcntl import ioctl
from pathlib import Path

import pytest

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import resolve_base_model
from sq_pipeline.cli.terminal.bars import Bars, Lines, Look, Pace, draw, duration, is_dumb, look_of
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.progress import Progress, progress_of, shown_by
from sq_pipeline_tests.conftest import link_shipped

PLAIN = Look(blocks=False, colours=False)
CODES = re.compile(r"\x1b\[[\d;]*[mK]")


def pace(what: str, done: int, total: int, **more: object) -> Pace:
    """Half a second a step so far."""
    progress = Progress(what, total, **more)  # type: ignore[arg-type]
    found = Pace(progress)
    found.note(0.0)
    progress.done = done
    found.note(done / 2)
    return found


LINES: list[tuple[str, list[Pace], int, str]] = [
    ("at 80", [pace("rendering g/w", 12, 27)], 80,
     "rendering g/w #############.................  12/27, 8 s left"),
    ("in another one", [pace("calibrating x", 3, 40), pace("verifying a", 1, 4)], 80,
     "calibrating x 3/40 > verifying a #######.......................  1/4, 2 s left"),
    ("a note, where there is room", [pace("training g/a", 45, 150, note="loss 0.1234")], 80,
     "training g/a #########.....................  45/150, 52 s left, loss 0.1234"),
    ("no room for it", [pace("training g/a", 45, 150, note="loss 0.1234")], 60,
     "training g/a ########....................  45/150, 52 s left"),
    ("bytes", [pace("reading x.safetensors", 3 << 30, 12 << 30, is_bytes=True, left_s=61.0)], 80,
     "reading x.safetensors #######.......................  3.0/12.0 GiB, 61 s left"),
    ("before anybody can tell", [pace("rendering g/w", 0, 27)], 80,
     "rendering g/w ..............................  0/27"),
    ("more than was thought", [pace("verifying a", 9, 4)], 80,
     "verifying a ##############################  4/4, 0 s left"),
    ("narrow: the end of the name", [pace("rendering a_genre/a_world", 12, 27)], 40,
     "..enre/a_world ###.....  12/27, 8 s left"),
]  # fmt: skip


@pytest.mark.parametrize(("paces", "width", "line"), [pytest.param(*case[1:], id=case[0]) for case in LINES])
def test_a_line_says_what_how_far_and_how_long(paces: list[Pace], width: int, line: str) -> None:
    now_s = paces[-1].steps[-1][0]
    assert draw(paces, now_s, width, PLAIN) == line


@pytest.mark.parametrize("look", [PLAIN, Look()], ids=["plain", "blocks and colours"])
@pytest.mark.parametrize("width", [1, 5, 10, 20, 33, 40, 60, 79, 80, 120, 300])
def test_it_never_takes_more_than_its_width(width: int, look: Look) -> None:
    for _, paces, _, _ in LINES:
        assert len(CODES.sub("", draw(paces, 1.0, width, look))) <= width


def test_the_pace_is_that_of_late() -> None:
    """What the store had took no time, and says nothing of what is rendered."""
    found = pace("x", 0, 100)
    now_s = 0.0
    for done in range(1, 61):
        now_s += 0.001 if done <= 40 else 2.0
        found.progress.done = done
        found.note(now_s)
    assert found.left_s(now_s) == pytest.approx(80, rel=0.05)
    assert found.left_s(now_s + 30) == pytest.approx(50, rel=0.05)  # a long step: the time runs on


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (7260, "2 h 01 min")]
)
def test_a_time_is_as_exact_as_anybody_needs_it(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("environ", "encoding", "look"),
    [({}, "utf-8", Look()), ({}, "ascii", Look(False, True)), ({}, None, Look(False, True)),
     ({"NO_COLOR": "1"}, "UTF-8", Look(True, False)), ({"NO_COLOR": ""}, "utf8", Look())],
)  # fmt: skip
def test_the_environment_says_what_can_be_shown(environ: Mapping[str, str], encoding: str | None, look: Look) -> None:
    assert look_of(environ, encoding) == look


@pytest.mark.parametrize(("term", "dumb"), [("xterm", False), ("dumb", True), ("", True), (None, True)])
def test_a_terminal_that_draws_nothing_again_is_dumb(term: str | None, dumb: bool) -> None:
    assert is_dumb({} if term is None else {"TERM": term}) == dumb


class _Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_plain_line_comes_now_and_then() -> None:
    written: list[str] = []
    clock = _Time()
    with shown_by(Lines(written.append, clock)), progress_of("rendering g/w", 100) as progress:
        for _ in range(100):
            clock.now += 1.0
            progress.advance()
    assert written == [f"rendering g/w: {n}/100, {100 - n} s left\n" for n in (30, 60, 90)]


def test_a_line_is_not_drawn_more_often_than_anybody_sees_and_nothing_is_left() -> None:
    written: list[str] = []
    clock = _Time()
    with shown_by(Bars(written.append, lambda: 80, PLAIN, clock)):
        with progress_of("x", 1000) as progress:
            for _ in range(1000):
                clock.now += 0.01
                progress.advance()
        assert 90 <= len(written) <= 120
        assert written[-1] == "\r\x1b[K"


PROGRAM = """
import os, subprocess, sys
from sq_pipeline.cli.terminal.stderr import shown_progress
from sq_pipeline.common.processes.deaths import told_of_death
from sq_pipeline.common.processes.progress import progress_of
def work():
    with progress_of("rendering g/w", 3) as progress:
        for number in range(3):
            sys.stderr.write(f"line {number}\\n")
            subprocess.run(["sh", "-c", f"echo child {number} >&2; printf '50%%|##|\\r100%%|####|\\n' >&2"])
            progress.advance()
            if "die" in sys.argv: os.kill(os.getpid(), 9)
    if "fail" in sys.argv: raise SystemExit("the last words")
with shown_progress(), told_of_death("the run"):
    work()
print("result")
"""


def _on_terminal(width: int, *arguments: str, **environ: str) -> tuple[str, list[str]]:
    """What came to a terminal of that width, and the rows that stand on it in the end."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environ}
    env.pop("NO_COLOR", None) if "NO_COLOR" not in environ else None
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=env) as process:
        os.close(follower)
        came = b"".join(_read(leader))
        process.wait()
    os.close(leader)
    text = came.decode()
    return text, [_row(line) for line in text.replace("\r\n", "\n").split("\n")]


def _read(leader: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(leader, 1 << 16)
        except OSError:  # Linux: nobody has the other end open any more
            return
        if not chunk:
            return
        yield chunk


def _row(line: str) -> str:
    """What stands in a row after carriage returns and erasing; colours aside."""
    row = ""
    for part in re.sub(r"\x1b\[[\d;]*m", "", line).split("\r"):
        text, is_erased, after = part.partition("\x1b[K")
        row = text + after if is_erased else text + row[len(text) :]
    return row


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_on_a_terminal_lines_of_others_come_whole_and_nothing_is_left_of_the_bar(width: int) -> None:
    text, rows = _on_terminal(width)
    assert "\x1b[32m" in text
    for number in range(3):
        assert f"line {number}" in rows
        assert f"child {number}" in rows
    assert rows[-2:] == ["result", ""]
    assert not any("3/3" in row or "0/3" in row for row in rows)
    assert rows.count("100%|####|") == 3  # a bar of a library: its last state
    assert rows.index("line 0") < rows.index("child 0") < rows.index("line 2")


def test_the_last_words_come_after_the_bar() -> None:
    _, rows = _on_terminal(80, "fail")
    assert rows[-2:] == ["the last words", ""]


def test_a_death_is_told_on_the_terminal() -> None:
    """By the watcher, which outlives the process that stderr leads through."""
    _, rows = _on_terminal(80, "die")
    assert any(row.startswith("the run (process ") and "SIGKILL" in row for row in rows), rows


def test_no_color_is_honoured() -> None:
    text, _ = _on_terminal(80, NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*m", text)
    assert "━" in text


def test_a_dumb_terminal_gets_no_control_codes() -> None:
    text, _ = _on_terminal(80, TERM="dumb")
    assert "\x1b" not in text
    assert "line 2" in text


def test_without_a_terminal_there_are_no_control_codes() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout == "result\n"
    assert "\x1b" not in ended.stderr
    assert ended.stderr.startswith("line 0\nchild 0\n")


def test_reading_a_large_base_model_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: DataDir) -> None:
    """Every file counts with its bytes, whether it is read or was read before."""
    monkeypatch.setattr(files, "_LONG_BYTES", 1)
    data = link_shipped(tmp_path / "data", shipped)
    paths = files._weight_files(resolve_base_model("tiny-flux"), data)[1]
    seen: list[int] = []
    monkeypatch.setattr(Progress, "reach", lambda progress, done, *_: seen.append(done))
    for _ in range(2):
        written: list[str] = []
        seen.clear()
        with shown_by(Bars(written.append, lambda: 80, PLAIN, _Time())):
            files.base_model_weights_hash("tiny-flux", data)
        assert written[0].startswith("\rreading tiny-flux ")
        assert max(seen) == sum(path.stat().st_size for path in paths)
