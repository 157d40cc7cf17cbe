"""stderr while progress is shown on it: whatever this process, its threads, libraries or children say comes above it.

On a terminal, stderr leads through a pipe meanwhile, which a thread reads. Not here: what is drawn (`bars`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from threading import Thread

from sq_pipeline.cli.terminal.bars import CLOCK, Bars, Lines, is_dumb, look_of
from sq_pipeline.common.processes import deaths
from sq_pipeline.common.processes.progress import is_quiet, shown_by

_STDERR = 2
_CHUNK_BYTES = 1 << 16
_LAST_LOOK_S = 0.05  # for what was said, but not read yet
_WIDTH = 80


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show all progress of this process while the block runs, unless a person asked for quiet."""
    if is_quiet():
        yield
        return
    if not _is_ours():
        with shown_by(Lines(_write_plain, CLOCK)):
            yield
        return
    with os.fdopen(os.dup(_STDERR), "wb", buffering=0) as real:  # steps of Dagster have a stderr of their own
        encoding = sys.stderr.encoding or "utf-8"

        def write(text: str) -> None:
            with suppress(OSError):  # the terminal is gone
                real.write(text.encode(encoding, "replace"))

        if not os.isatty(real.fileno()) or is_dumb(os.environ):
            with shown_by(Lines(write, CLOCK)):
                yield
            return
        bars = Bars(write, lambda: _width(real.fileno()), look_of(os.environ, encoding), CLOCK)
        with shown_by(bars), deaths.told_on(real.fileno()), _through_pipe(bars, real.fileno()):
            yield


def _is_ours() -> bool:
    """False where a test has put something else in stderr's place."""
    try:
        return sys.stderr.fileno() == _STDERR
    except (OSError, ValueError, AttributeError):
        return False


def _width(terminal: int) -> int:
    try:
        return os.get_terminal_size(terminal).columns or _WIDTH
    except OSError:
        return _WIDTH


@contextmanager
def _through_pipe(bars: Bars, terminal: int) -> Iterator[None]:
    """Lead stderr through a pipe to `terminal`, whole lines above the bars."""
    reading, writing = os.pipe()
    stop_reading, stop = os.pipe()
    before = os.dup(_STDERR)
    sys.stderr.flush()
    os.dup2(writing, _STDERR)
    os.close(writing)
    reader = Thread(target=_pass_on, args=(reading, stop_reading, terminal, bars), name="stderr", daemon=True)
    reader.start()
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.flush()
        os.dup2(before, _STDERR)
        os.write(stop, b".")
        reader.join()
        for number in (before, stop, stop_reading, reading):
            os.close(number)


def _pass_on(reading: int, stop_reading: int, terminal: int, bars: Bars) -> None:
    """Until told to stop, and then what is there still. A child may hold the other end open for longer."""
    held, is_last = b"", False
    while True:
        ready, _, _ = select(
            [reading] if is_last else [reading, stop_reading], [], [], _LAST_LOOK_S if is_last else None
        )
        if reading in ready:
            chunk = os.read(reading, _CHUNK_BYTES)
            if not chunk:
                break
            whole, end, held = (held + chunk).rpartition(b"\n")
            held = held.rpartition(b"\r")[2] or held[-_CHUNK_BYTES:]
            _print(bars, terminal, whole + end)
        elif is_last:
            break
        is_last = is_last or stop_reading in ready
    _print(bars, terminal, held)


def _print(bars: Bars, terminal: int, text: bytes) -> None:
    lines = [line.rpartition(b"\r")[2] if line.strip() else line for line in text.split(b"\n")]  # bars of libraries
    if any(lines):
        with bars.away(), suppress(OSError):
            os.write(terminal, b"\n".join(lines))


def _write_plain(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
