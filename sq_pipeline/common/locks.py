"""One run at a time on a data directory, whoever starts it: the command line, the Dagster UI, a sensor.

The lock is the operating system's, so it falls with the process that holds it, however that ends.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.plain_file import read_plain_text

_POLL_S = 0.5


def read_holder(path: Path, unknown: str = "another process") -> str:
    """What the holder of a lock said of itself."""
    try:
        return read_plain_text(path).strip()
    except OSError:
        return unknown


@contextmanager
def hold_instance_lock(data: DataDir) -> Iterator[None]:
    """Keep others from opening the Dagster instance meanwhile: two that make its tables at once fail."""
    path = data.store_root / "instance.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, thread_local=False, is_singleton=True):
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
def hold_run_lock(data: DataDir, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process runs on this data directory, and keep others waiting while the block runs.

    `say` is told once, whom it waits for. Inside a block of the same process it returns at once.
    """
    path, holder = data.store_root / "run.lock", data.store_root / "run.holder"
    path.parent.mkdir(parents=True, exist_ok=True)
    # one lock object a process and not one a thread: what holds it may look for it again anywhere inside
    lock = FileLock(path, thread_local=False, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{read_holder(holder)} is running on this data directory; waiting for it to end")
        lock.acquire(poll_interval=_POLL_S)
    try:
        with suppress(StorageError):  # only who it is would be missing from another's message
            write_text(holder, f"process {os.getpid()} (since {time.strftime('%H:%M:%S')})\n")
        yield
    finally:
        lock.release()
