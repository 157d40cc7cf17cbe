"""The store's objects: bytes under their own hash, believed only where what lies there was read and has that hash.

Anything else in an object's place (cut off, a flipped bit, a folder, a link) counts as missing, and is written over
when it is made again. Not here: what objects are for (`pipeline.store`).
"""

import re
import stat
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.common.atomic import copy_file, disk_error, write_bytes
from sq_pipeline.common.errors import Fault, StorageError
from sq_pipeline.common.fingerprints import hash_bytes, hash_file
from sq_pipeline.common.stat_cache import StatCache, stamp_text

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_TOLD = 10
_MENDED, _TO_MEND = "was made again", "counts as missing, and is made again where it is needed"
_GONE = "is gone from the store"


class StoredObject(BaseModel):
    """One object: its place under `objects/`, its hash and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[0-9a-f]{2}/[0-9a-f]{64}(\.\w+)*$")
    sha256: str
    byte_count: int


def _stored(sha256: str, suffix: str, byte_count: int) -> StoredObject:
    digits = sha256.removeprefix("sha256:")
    return StoredObject(name=f"{digits[:2]}/{digits}{suffix}", sha256=sha256, byte_count=byte_count)


def _label(stored: StoredObject) -> str:
    return f"store/objects/{stored.name}"


class StoredObjects:
    """The objects below `root`. `files`: what knows the hashes of files that did not change; without it all are read.

    Raises StorageError where the disk refuses, or an object that is asked for is not there as it was kept.
    """

    def __init__(self, root: Path, files: StatCache | None = None) -> None:
        self._root = root
        self._files = files
        self._damaged: dict[str, str] = {}
        self._mended: set[str] = set()
        self._replaced: set[tuple[str, str]] = set()  # names of objects, and hashes of what lay there until now

    def put_bytes(self, content: bytes, suffix: str) -> StoredObject:
        """Keep `content`; the same content is kept once."""
        stored = _stored(hash_bytes(content), suffix, len(content))
        if self.why_missing(stored):
            self._make_room(stored)
            write_bytes(self.path_of(stored), content)
        return stored

    def put_file(self, source: Path, suffix: str) -> StoredObject:
        """Keep a copy of a file."""
        stored = _stored(hash_file(source), suffix, source.stat().st_size)
        if self.why_missing(stored):
            self._make_room(stored)
            copy_file(source, self.path_of(stored), stored.sha256)
        return stored

    def read_bytes(self, stored: StoredObject) -> bytes:
        """An object's bytes, hashed as they are read."""
        path = self.path_of(stored)
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise self._refused(stored, "is no plain file")
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise self._refused(stored, _GONE) from error
        except StorageError:
            raise
        except OSError as error:
            raise self._refused(stored, f"cannot be read ({error.strerror})") from error
        if hash_bytes(content) != stored.sha256:
            self._forget(path)  # what its stat tells is not so
            raise self._refused(stored, "holds other bytes than were kept")
        return content

    def read_text(self, stored: StoredObject) -> str:
        """An object's text, in UTF-8."""
        return self.read_bytes(stored).decode()

    def lend(self, stored: StoredObject) -> Path:
        """Where an object lies, for a loader that opens files by itself: to be read, and not to be kept or changed."""
        if problem := self.why_missing(stored):
            raise self._refused(stored, problem)
        return self.path_of(stored)

    def find(self, sha256: str, suffix: str) -> StoredObject | None:
        """The object with this hash, if it is there; None too for what is no hash."""
        if not _HASH.fullmatch(sha256):
            return None
        stored = _stored(sha256, suffix, 0)
        with suppress(OSError):
            stored = stored.model_copy(update={"byte_count": self.path_of(stored).lstat().st_size})
        return None if self.why_missing(stored) else stored

    def why_not_found(self, sha256: str, suffix: str) -> str | None:
        """What is wrong with what lies where `find` looks; None where nothing does, or it is sound."""
        if not _HASH.fullmatch(sha256) or self.find(sha256, suffix) is not None:
            return None
        stored = _stored(sha256, suffix, 0)
        problem = self._damaged.get(stored.name)
        return None if problem is None else f"{_label(stored)} {problem}"

    def why_missing(self, stored: StoredObject) -> str | None:
        """Why an object counts as missing; None where it is there as it was kept. A damaged one is remembered."""
        problem = self._look(stored)
        if problem is not None and problem != _GONE:
            self._damaged[stored.name] = problem
        return problem

    def is_same_damage(self, stored: StoredObject, path: Path) -> bool:
        """True where a file holds what lies in the object's place, or lay there until it was replaced just now.

        Whatever that is, it was copied from there.
        """
        try:
            place, found = self.path_of(stored), self._hash_of(path)
            is_same = stat.S_ISREG(place.lstat().st_mode) and self._hash_of(place) == found
            return is_same or (stored.name, found) in self._replaced
        except OSError:
            return False

    def describe_missing_object(self, stored: StoredObject) -> str | None:
        """`store/objects/… holds other bytes than were kept`; None where it is there as it was kept."""
        problem = self.why_missing(stored)
        return None if problem is None else f"{_label(stored)} {problem}"

    def describe_damage(self) -> list[str]:
        """A line for each damaged object that was come across, in all a few."""
        lines = [
            f"store/objects/{name} {problem}; it {_MENDED if name in self._mended else _TO_MEND}"
            for name, problem in sorted(self._damaged.items())
        ]
        more = len(lines) - _MOST_TOLD
        return lines if more <= 0 else [*lines[:_MOST_TOLD], f"and {more} more objects of the store are damaged"]

    def forget_damage(self, stored: StoredObject) -> None:
        """It was put back, and somebody has said so."""
        self._damaged.pop(stored.name, None)

    def stamp_of(self, name: str) -> str | None:
        """What tells that an object was touched; None where it is gone or no plain file."""
        return stamp_text(f"{self._root}/{name}")

    def path_of(self, stored: StoredObject) -> Path:
        """Where it lies, or would."""
        return self._root / stored.name

    def _look(self, stored: StoredObject) -> str | None:
        path = self.path_of(stored)
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                return "is no plain file"
            if found.st_size != stored.byte_count:
                return f"is {found.st_size} bytes long, and was kept with {stored.byte_count}"
            return None if self._holds(path, stored.sha256) else "holds other bytes than were kept"
        except (FileNotFoundError, NotADirectoryError):
            return _GONE
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"

    def _holds(self, path: Path, sha256: str) -> bool:
        if self._hash_of(path) == sha256:
            return True
        self._forget(path)  # no work is done again for a wrong line in a cache
        return hash_file(path) == sha256

    def _hash_of(self, path: Path) -> str:
        return hash_file(path) if self._files is None else self._files.hash_of(path)

    def _forget(self, path: Path) -> None:
        if self._files is not None:
            self._files.forget(path)

    def _refused(self, stored: StoredObject, problem: str) -> StorageError:
        if problem != _GONE:
            self._damaged[stored.name] = problem
        return StorageError(Fault(_label(stored), "", problem, "run again: it counts as missing, and is made again"))

    def _make_room(self, stored: StoredObject) -> None:
        """Put a folder in an object's place aside, under `damaged/`; anything else is replaced."""
        path = self.path_of(stored)
        self._mended.add(stored.name)
        if path.is_symlink() or not path.is_dir():
            with suppress(OSError):
                self._replaced.add((stored.name, self._hash_of(path)))
            return
        aside = self._root.parent / "damaged" / path.name
        try:
            aside.parent.mkdir(exist_ok=True)
            number = 1
            while aside.exists():
                aside, number = aside.with_name(f"{path.name}.{number}"), number + 1
            path.rename(aside)
        except OSError as error:
            raise disk_error(path, error) from error
