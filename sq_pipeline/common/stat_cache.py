"""What files were found to hold, remembered by their stat, so that only changed files are read again.

A file is known by its size, times and inode. Never the truth: safe to delete, and without it all is read.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from stat import S_ISREG

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.fingerprints import hash_bytes, hash_file, short
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.sqlite_file import SqliteFile

_SCHEMA = "CREATE TABLE files (path TEXT, kind TEXT, stamp TEXT, value TEXT, PRIMARY KEY (path, kind)) WITHOUT ROWID"

# What code is: the rules that adapters of a family are read by are YAML in the package.
_CODE = (".py", ".yaml")

# A file may be written twice within the resolution of its times (2 s on FAT); one that young is not remembered.
_YOUNG_NS = 2_000_000_000


@cache
def code_stamp() -> str:
    """Changes with our own code, whose findings must not outlive it; wherever in the package this module lies."""
    return stamp_of(Path(__file__).parents[__name__.count(".") - 1])


def stamp_of(package: Path) -> str:
    """A hash of place, size and time of every module, and YAML of rules, below a folder at any depth; reads none."""
    return short(hash_bytes("\n".join(sorted(_modules(str(package), ""))).encode()))


def _modules(folder: str, place: str) -> Iterator[str]:
    # os.scandir and plain strings: `plan` waits for this, and pathlib takes five times as long
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{place}/{entry.name}"
            if entry.is_dir():
                yield from _modules(entry.path, name)
            elif name.endswith(_CODE):
                stat = entry.stat()
                yield f"{name} {stat.st_size} {stat.st_mtime_ns}"


def stamp_text(path: str) -> str | None:
    """What tells that a file was touched, without reading it; None where it is gone, or no plain file."""
    try:
        # plain strings: a large game has tens of thousands of files
        found = os.lstat(path)
    except OSError:
        return None
    return _text_of(found) if S_ISREG(found.st_mode) else None


def _text_of(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


class StatCache:
    """Texts made from files of one data directory. What is new is written when `saving` ends, all at once."""

    def __init__(self, data: DataDir) -> None:
        self._root = data.root
        self._file = SqliteFile(data.store_root / "cache" / "files.sqlite", _SCHEMA, 1, is_cache=True)
        self._new: dict[tuple[str, str], tuple[str, str]] = {}
        self._is_usable = True

    def remember(self, path: Path, kind: str, make: Callable[[], str]) -> str:
        """`make()`, or what it gave when the file last looked the same. A missing file is not remembered."""
        try:
            stat = path.stat()
        except OSError:
            return make()
        key = os.path.relpath(path, self._root), kind
        stamp = _text_of(stat)
        known = self._new.get(key) or self._known(key)
        if known is not None and known[0] == stamp:
            return known[1]
        value = make()
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _YOUNG_NS:
            self._new[key] = stamp, value
        return value

    def hash_of(self, path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
        """The sha256 of a file's bytes; `on_bytes` is told of them where they have to be read."""
        return self.remember(path, "sha256", lambda: hash_file(path, on_bytes))

    def note(self, path: Path, kind: str, value: str) -> None:
        """Keep a text about a file, whatever becomes of the file."""
        key = os.path.relpath(path, self._root), kind
        known = self._new.get(key) or self._known(key)
        if known is None or known[1] != value:
            self._new[key] = "", value

    def noted(self, path: Path, kind: str) -> str | None:
        """What was noted last; None where nothing was."""
        key = os.path.relpath(path, self._root), kind
        known = self._new.get(key) or self._known(key)
        return known[1] if known else None

    def forget(self, path: Path) -> None:
        """Read the file again next time, whatever its stat tells: it was found to hold something else."""
        name = os.path.relpath(path, self._root)
        self._new = {key: entry for key, entry in self._new.items() if key[0] != name}
        with suppress(StorageError, OSError):
            if self._file.read("SELECT 1 FROM files WHERE path = ?", (name,)):
                with self._file.writing() as connection:
                    connection.execute("DELETE FROM files WHERE path = ?", (name,))

    def _known(self, key: tuple[str, str]) -> tuple[str, str] | None:
        if not self._is_usable:
            return None
        try:
            rows = self._file.read("SELECT stamp, value FROM files WHERE path = ? AND kind = ?", key)
        except StorageError:
            self._is_usable = False  # it only saves time, so nobody has to hear of it
            return None
        return (rows[0][0], rows[0][1]) if rows else None

    @contextmanager
    def saving(self) -> Iterator["StatCache"]:
        """Write what is new when the block ends."""
        try:
            yield self
        finally:
            self.save()

    def save(self) -> None:
        """Write what is new, if the disk allows it."""
        if not self._new or not self._is_usable:
            return
        rows = [(*key, *entry) for key, entry in self._new.items()]
        try:
            with self._file.writing() as connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        except (StorageError, OSError):
            self._is_usable = False
        self._new.clear()
