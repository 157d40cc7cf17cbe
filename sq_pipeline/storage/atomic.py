"""Whole files or none: everything this package writes to a final path goes through here."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sq_pipeline.core.errors import Fault, StorageError


@contextmanager
def atomic_path(final_path: Path) -> Iterator[Path]:
    """A temporary path beside `final_path` that replaces it when the block ends well, and is removed otherwise.

    The temporary name starts with a dot and ends with `.part` plus the final suffix, so that nothing
    picks it up. Raises StorageError, with what to do, when the disk is full or not writable.
    """
    part: Path | None = None
    try:
        final_path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{final_path.stem}.",
            suffix=f".part{final_path.suffix}",
            dir=final_path.parent,
        )
        os.close(handle)
        part = Path(name)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(final_path)
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in _DISK_ERRORS:
            raise
        raise disk_error(final_path, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def disk_error(path: Path, error: OSError) -> StorageError:
    """The one-line error for a disk that refused `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            Fault(
                str(path),
                "",
                "the disk is full",
                "free some space and run again; nothing was kept",
            )
        )
    return StorageError(
        Fault(
            str(path),
            "",
            f"cannot be written ({error.strerror})",
            "check the permissions",
        )
    )


def write_bytes(final_path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with atomic_path(final_path) as part:
        part.write_bytes(content)


def write_text(final_path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically."""
    write_bytes(final_path, content.encode())


def copy_file(source: Path, final_path: Path) -> None:
    """Copy a file's bytes to `final_path`, atomically."""
    with atomic_path(final_path) as part:
        shutil.copyfile(source, part)
