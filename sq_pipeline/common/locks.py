"""One run at a time on a data directory, whoever starts it: the command line, the Dagster UI, a sensor.

The lock is the operating system's, so it falls with the process that holds it, however that ends.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.plain_file import read_plain_text
from sq_pipeline.common.processes.headway import is_stopped, tell_stopped
from sq_pipeline.common.text import printable

_POLL_S = 0.5
_OPENING_S = 2  # an instance is open in a tenth of that
_MOST_SHOWN = 60  # characters of a command
_PID = re.compile(r"process (\d+) ")

Say = Callable[[str], None]


def read_holder(path: Path, unknown: str = "another process") -> str:
    """What the holder of a lock said of itself."""
    try:
        return read_plain_text(path).strip()
    except OSError:
        return unknown


@contextmanager
def hold_instance_lock(data: DataDir, say: Say = lambda _line: None) -> Iterator[None]:
    """Keep others from opening the Dagster instance meanwhile: two that make its tables at once fail.

    `say` is told once, whom it waits for, where that takes longer than opening does.
    """
    with _hold(data.store_root / "instance", "is opening Dagster's records of this data directory", say, _OPENING_S):
        yield


@contextmanager
def hold_choices_lock(data: DataDir) -> Iterator[None]:
    """Keep others from writing down what people chose meanwhile: two of them at once would lose one."""
    with _hold(data.store_root / "choices", "is writing choices", lambda _line: None):
        yield


@contextmanager
def hold_pages_lock(data: DataDir, url: str) -> Iterator[None]:
    """Keep the pages over a data directory to one process, which serves them at `url`.

    Raises StorageError, naming the address, where another one does.
    """
    path, holder = data.store_root / "pages.lock", data.store_root / "pages.holder"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        problem = f"is already open at {read_holder(holder, 'another port')}"
        raise StorageError(Fault(str(data.root), "", problem, "look there, or end that one first")) from None
    try:
        with suppress(StorageError):  # only the address would be missing from another's message
            write_text(holder, f"{url}\n")
        yield
    finally:
        lock.release()


def is_run_lock_free(data: DataDir) -> bool:
    """True when no process runs on this data directory."""
    path = data.store_root / "run.lock"
    if not path.exists():
        return True
    try:
        # a lock object of its own: one that this process holds is held for it as well
        with FileLock(path, timeout=0):
            return True
    except Timeout:
        return False


@contextmanager
def hold_run_lock(data: DataDir, say: Say) -> Iterator[None]:
    """Wait until no other process runs on this data directory, and keep others waiting while the block runs.

    `say` is told once, whom it waits for. Inside a block of the same process it returns at once.
    """
    with _hold(data.store_root / "run", "is running on this data directory", say):
        yield


@contextmanager
def _hold(stem: Path, does: str, say: Say, moment_s: float = 0) -> Iterator[None]:
    """Hold the lock at `<stem>.lock`; `<stem>.holder` says who does. Who waits longer than a moment is told."""
    path, holder = stem.with_suffix(".lock"), stem.with_suffix(".holder")
    path.parent.mkdir(parents=True, exist_ok=True)
    # one lock object a process and not one a thread: what holds it may look for it again anywhere inside
    lock = FileLock(path, thread_local=False, is_singleton=True)
    try:
        lock.acquire(timeout=moment_s)
    except Timeout:
        say(f"{_told_of(holder)} {does}; waiting for it to end")
        lock.acquire(poll_interval=_POLL_S)
    try:
        with suppress(StorageError):  # only who it is would be missing from another's message
            write_text(holder, f"{_who_this_is()}\n")
        yield
    finally:
        lock.release()


def _who_this_is() -> str:
    script, *words = sys.orig_argv[1:] or [""]
    command = printable(" ".join([Path(script).name, *words]))
    shown = command if len(command) <= _MOST_SHOWN else f"{command[:_MOST_SHOWN]}…"
    return f"process {os.getpid()} ({shown}, since {time.strftime('%H:%M:%S')})"


def _told_of(holder: Path) -> str:
    """The holder as it said, and whether it was stopped."""
    told = read_holder(holder)
    pid = _PID.match(told)
    return f"{told}: {tell_stopped(int(pid[1]))}. It" if pid and is_stopped(int(pid[1])) else told
