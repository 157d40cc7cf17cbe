"""Which picture is being rendered at this moment, told by who renders it in a note that falls with its process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.plain_file import read_plain_text


@contextmanager
def told_as_rendering(data: DataDir, asset: str) -> Iterator[None]:
    """While the block runs, `rendering_now` gives this asset. Where the disk refuses, nobody is told."""
    with suppress(StorageError):
        write_bytes(data.rendering_note, f"{os.getpid()} {asset}\n".encode(), flush=False)
    try:
        yield
    finally:
        with suppress(OSError):
            data.rendering_note.unlink(missing_ok=True)


def rendering_now(data: DataDir) -> str | None:
    """The asset that is being rendered; None where no process that lives says so."""
    try:
        pid, _, asset = read_plain_text(data.rendering_note).strip().partition(" ")
        return asset if is_alive(int(pid)) else None
    except (OSError, ValueError):
        return None


def is_alive(pid: int) -> bool:
    """True for a process that has not ended, whoever's it is."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0
