"""Whether a process makes headway: one that was stopped does nothing, one without a word may hang. Both are told of.

Nobody ends them: what they have done is somebody's work. Not here: running children (`guarded_process`), how one that
ended did (`deaths`).
"""

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_log = logging.getLogger(__name__)

SILENCE_S = 15 * 60  # a trainer says something in each of its iterations; loading and encoding take minutes
_LOOK_S = 5
_PS_S = 5
_STOPPED = "T"  # in Linux's `/proc` and in `ps` of every system

Say = Callable[[str], None]


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """True for a process that a signal stopped (SIGSTOP, Ctrl-Z), which lives; False where nobody can tell."""
    if proc.is_dir():
        with suppress(OSError, IndexError):  # it has ended
            return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == _STOPPED
        return False
    with suppress(OSError, subprocess.SubprocessError):  # macOS has no `/proc`, and no `waitid` in this Python
        asked = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, timeout=_PS_S, check=False
        )
        return asked.stdout.strip().startswith(_STOPPED)
    return False


def tell_stopped(pid: int) -> str:
    """What to say of one that is stopped, and the way out."""
    return f"it is stopped; `kill -CONT {pid}` lets it go on"


@dataclass(frozen=True)
class Watch:
    """Whom to watch (`who`, to people) and whom to tell; `silence_s`: after how long without a word, None for never."""

    who: str
    say: Say = _log.warning
    silence_s: float | None = None
    look_s: float = _LOOK_S


@dataclass
class Headway:
    """Looks at one process, at given times in seconds, and tells each time that it stops, or falls silent, once.

    `log` is what it writes to.
    """

    watch: Watch
    pid: int
    log: Path | None
    _is_stopped: bool = False
    _is_silent: bool = False
    _said_bytes: int = -1
    _said_at: float = field(default=0.0)

    def look(self, now_s: float) -> str | None:
        """What is to be told now."""
        was_stopped, self._is_stopped = self._is_stopped, is_stopped(self.pid)
        said = self._count_bytes()
        if said != self._said_bytes or self._is_stopped:
            self._said_bytes, self._said_at, self._is_silent = said, now_s, False
        who = f"{self.watch.who} (process {self.pid})"
        if self._is_stopped:
            return None if was_stopped else f"{who} waits: {tell_stopped(self.pid)}"
        limit_s = self.watch.silence_s
        if limit_s is None or self.log is None or self._is_silent or now_s - self._said_at < limit_s:
            return None
        self._is_silent = True
        return f"{who} has said nothing for {limit_s / 60:.3g} minutes, and is waited for; its output is in {self.log}"

    def _count_bytes(self) -> int:
        with suppress(OSError):
            return self.log.stat().st_size if self.log is not None else 0
        return 0


@contextmanager
def watched(watch: Watch | None, pid: int, log: Path | None) -> Iterator[None]:
    """While the block runs, a thread looks at the process every few seconds, and tells."""
    if watch is None:
        yield
        return
    has_ended, headway = threading.Event(), Headway(watch, pid, log)

    def look() -> None:
        while not has_ended.wait(watch.look_s):
            if told := headway.look(time.monotonic()):
                watch.say(told)

    watcher = threading.Thread(target=look, name=f"watch {watch.who}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        has_ended.set()
        watcher.join()
