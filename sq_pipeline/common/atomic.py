"""Whole files or none: everything this package writes to a final path goes through here."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.fingerprints import hash_file

FULL = {errno.ENOSPC, errno.EDQUOT}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_DISK_ERRORS = {*FULL, *FORBIDDEN, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ENAMETOOLONG}
_STEM_CHARACTERS = 40  # of the final name in the temporary one; a file name holds 255 bytes


@contextmanager
def atomic_path(final_path: Path, *, flush: bool = True) -> Iterator[Path]:
    """A temporary path beside `final_path` that replaces it when the block ends well, and is removed otherwise.

    The temporary name starts with a dot and ends with `.part` plus the final suffix, so that nothing picks it up.
    Without `flush` a power cut may leave the file empty. Raises StorageError, with what to do, when the disk is full or
    not writable.
    """
    try:
        part = _make_part(final_path)
    except OSError as error:
        raise disk_error(final_path, error) from error
    try:
        yield part
        if flush:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(final_path)
    except OSError as error:
        if isinstance(error, StorageError) or not _is_refused(error, part):
            raise
        raise disk_error(final_path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _make_part(final_path: Path) -> Path:
    final_path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{final_path.stem[:_STEM_CHARACTERS]}.",
        suffix=f".part{final_path.suffix}",
        dir=final_path.parent,
    )
    os.close(handle)
    return Path(name)


def _is_refused(error: OSError, part: Path) -> bool:
    """True when the disk refused `part`; an error that names other files only is the block's own."""
    names = [name for name in (error.filename, error.filename2) if name is not None]
    return error.errno in _DISK_ERRORS and (not names or str(part) in map(str, names))


def disk_error(path: Path, error: OSError) -> StorageError:
    """The one-line error for a disk that refused `path`."""
    if error.errno in FULL:
        return StorageError(Fault(str(path), "", "the disk is full", "free some space and run again; nothing was kept"))
    hint = "check the permissions" if error.errno in FORBIDDEN else "check the path and the disk"
    return StorageError(Fault(str(path), "", f"cannot be written ({error.strerror or error})", hint))


def write_bytes(final_path: Path, content: bytes, *, flush: bool = True) -> None:
    """Write a whole file, atomically; see `atomic_path`."""
    with atomic_path(final_path, flush=flush) as part:
        part.write_bytes(content)


def write_text(final_path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically."""
    write_bytes(final_path, content.encode())


def copy_file(source: Path, final_path: Path, sha256: str | None = None) -> None:
    """Copy a file's bytes to `final_path`, atomically; only those of the hash that is given."""
    with atomic_path(final_path) as part:
        copy_bytes(source, part, sha256)


def copy_bytes(source: Path, part: Path, sha256: str | None) -> None:
    """Copy a file's bytes, and insist on their hash where one is given; raises StorageError."""
    shutil.copyfile(source, part)
    # the copy is hashed, and not its source: that may have changed in between
    if sha256 is not None and hash_file(part) != sha256:
        problem = "holds other bytes than it was known to hold"
        raise StorageError(Fault(str(source), "", problem, "run again; nothing was kept"))
