"""Versions of files that are about to be replaced: kept in a folder beside them, all of them."""

from pathlib import Path

from sq_pipeline.common.atomic import copy_file
from sq_pipeline.common.fingerprints import hash_file, short


def archive_version(path: Path, folder: Path | None = None) -> Path:
    """Keep a copy of a file as `<name>.<hash><suffix>` in `folder`, else in `archive/` beside it; returns that.

    Raises StorageError.
    """
    folder = folder or path.parent / "archive"
    target = folder / f"{path.stem}.{short(hash_file(path), 8)}{path.suffix}"
    if not target.exists():
        folder.mkdir(exist_ok=True)
        copy_file(path, target)
    return target


def archive_edited(path: Path, as_written: str) -> Path | None:
    """Keep a copy of a file of ours that a person has edited: one that does not hold what we would write of it.

    None where nothing is to be kept. Raises StorageError.
    """
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") == as_written:
        return None
    return archive_version(path)
