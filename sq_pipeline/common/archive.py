"""Versions of files that are about to be replaced: kept in a folder beside them, all of them."""

from glob import escape
from pathlib import Path

from sq_pipeline.common.atomic import copy_file, disk_error
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.fingerprints import hash_file, short

_DIGITS = (8, 16, 64)  # of the hash in a name: more where another file has that name


def archive_version(path: Path, folder: Path | None = None) -> Path:
    """Keep a copy of a file as `<name>.<hash><suffix>` in `folder`, else in `archive/` beside it; returns that.

    Raises StorageError, also for a file that cannot be read.
    """
    folder = folder or path.parent / "archive"
    try:
        digest = hash_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    target = archive_place(path, folder, digest)
    if not target.exists():
        try:
            folder.mkdir(exist_ok=True)
            copy_file(path, target)
        except StorageError:
            raise
        except OSError as error:
            raise disk_error(target, error) from error
    return target


def archive_place(path: Path, folder: Path, digest: str, first: str | None = None) -> Path:
    """Where a file with this hash is kept: there it is already, or nothing is. `first`: the name to try first."""
    names = [f"{path.stem}.{short(digest, digits)}{path.suffix}" for digits in _DIGITS]
    places = [folder / name for name in ([first] if first else []) + names]
    return next((place for place in places if not _is_taken(place, digest)), places[-1])


def versions_of(path: Path, folder: Path | None = None) -> list[Path]:
    """A file, and what the archive may hold of it."""
    return [path, *sorted((folder or path.parent / "archive").glob(f"{escape(path.stem)}*{escape(path.suffix)}"))]


def archive_edited(path: Path, as_written: str) -> Path | None:
    """Keep a copy of a file of ours that a person has edited: one that does not hold what we would write of it.

    None where nothing is to be kept. Raises StorageError.
    """
    try:
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") == as_written:
            return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return archive_version(path)


def _is_taken(target: Path, digest: str) -> bool:
    """True where something else has that name."""
    if not target.is_symlink() and not target.exists():
        return False
    try:
        return target.is_symlink() or hash_file(target) != digest
    except OSError:
        return True


def _unreadable(path: Path, error: OSError) -> StorageError:
    problem = f"cannot be read ({error.strerror or error}), so no copy of it can be kept"
    return StorageError(Fault(str(path), "", problem, "check its permissions, or move it away"))
