"""Running somebody else's program as a child: its lines as they come, a look around now and then, no orphan.

The child gets a group of its own, so that everything it starts ends with it, and a pipe as its standard input that is
closed when this process ends, however it ends. Not here: what the lines mean.
"""

import contextlib
import os
import queue
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_TICK_S = 0.25
_GRACE_S = 10.0
_LAST_LINES = 200
_BAR = re.compile(r"\d+%\|.*\|")  # a progress bar of tqdm


@dataclass(frozen=True)
class ChildResult:
    """`exit_code` is negative for a signal, as in `subprocess`; `was_stopped`: this side had seen enough."""

    exit_code: int
    was_stopped: bool
    last_lines: tuple[str, ...]

    @property
    def last_words(self) -> str:
        """The last line that says something, progress bars aside; for a signal, which one it was."""
        said = next((line for line in reversed(self.last_lines) if line.strip() and not _BAR.search(line)), "")
        if self.exit_code < 0:
            name = signal.Signals(-self.exit_code).name
            return f"killed by {name}" + (" (was there too little memory?)" if name == "SIGKILL" else "")
        return said.strip() or f"exit code {self.exit_code} without a word"


def run_child(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], bool],
) -> ChildResult:
    """Run a program in `folder` until it ends, or `on_tick`, asked a few times a second and at the end, says True.

    Lines are what stands between line ends and carriage returns, of both outputs. An exception of a callback, and
    KeyboardInterrupt, end the child and pass through. Raises OSError where there is nothing to run.
    """
    child = subprocess.Popen(
        [*command],
        cwd=folder,
        env={**environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
    last: deque[str] = deque(maxlen=_LAST_LINES)
    was_stopped = False
    try:
        reader.start()
        while True:
            is_over = not _take(lines, last, on_line)
            if on_tick():
                was_stopped = not is_over
                break
            if is_over:
                break
        if not was_stopped:
            child.wait()
    finally:
        _end(child)
    return ChildResult(child.returncode, was_stopped, tuple(last))


def _take(lines: "queue.SimpleQueue[str | None]", last: deque[str], on_line: Callable[[str], None]) -> bool:
    """Hand on what was said until a tick is over; False after the last word."""
    with contextlib.suppress(queue.Empty):
        line = lines.get(timeout=_TICK_S)
        while line is not None:
            last.append(line)
            on_line(line)
            line = lines.get_nowait()
        return False
    return True


def _read(stream: BinaryIO, lines: "queue.SimpleQueue[str | None]") -> None:
    rest = b""
    while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
        *whole, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in whole:
            if line:
                lines.put(line.decode(errors="replace"))
    if rest:
        lines.put(rest.decode(errors="replace"))
    lines.put(None)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the child and all that it started: politely at first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        try:
            child.wait(_GRACE_S)
            break
        except subprocess.TimeoutExpired:
            continue
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
