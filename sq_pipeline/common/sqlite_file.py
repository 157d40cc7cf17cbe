"""A small SQLite file: opened when first needed, one transaction at a time, its errors told in our words.

SQLite keeps several processes apart: a writer waits for another one, and what was not committed never was.
"""

import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import Fault, StorageError

_WAIT_S = 60.0  # for another process that writes
_DAMAGE = ("malformed", "not a database", "Could not decode")  # in SQLite's words
_BESIDE = ("", "-journal", "-wal", "-shm")  # the file itself, and what SQLite puts beside it


@dataclass(frozen=True)
class Refill:
    """What a lost file is made from again: is there anything, and entering it into empty tables."""

    has_any: Callable[[], bool]
    enter: Callable[[sqlite3.Connection], None]


def _is_damage(text: str) -> bool:
    return any(words in text for words in _DAMAGE)


class SqliteFile:
    """One database file with a schema. A missing file is empty to a reader; a writer makes it.

    With `refill` one that is gone or damaged is made again from that. A damaged `cache` is begun anew.
    """

    def __init__(
        self, path: Path, schema: str, version: int, *, refill: Refill | None = None, is_cache: bool = False
    ) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._refill = refill
        self._is_cache = is_cache
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; none where the file is missing. Raises StorageError for a damaged file."""

        def rows() -> list[tuple[Any, ...]]:
            connection = self._open(is_writing=self._has_refill() and self._is_empty())
            return connection.execute(query, values).fetchall() if connection is not None else []

        with self._lock, self._told():
            return self._mended(rows)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed when the block ends well, undone otherwise. Raises StorageError."""

        def begin() -> tuple[sqlite3.Connection, bool]:
            connection = self._open(is_writing=True)
            assert connection is not None
            is_inside = connection.in_transaction  # another block of this object: one transaction
            if not is_inside:
                connection.execute("BEGIN IMMEDIATE")
            return connection, is_inside

        with self._lock, self._told():
            connection, is_inside = self._mended(begin)
            if is_inside:
                yield connection
                return
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has undone it already
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _mended(self, look: Callable[[], Any]) -> Any:
        """`look()`, once more where the file was found damaged and can be begun anew."""
        try:
            with self._told():
                return look()
        except StorageError as error:
            is_inside = self._connection is not None and self._connection.in_transaction
            if is_inside or not _is_damage(str(error.__cause__)) or not self._remove_damaged():
                raise
        return look()

    def _has_refill(self) -> bool:
        return self._refill is not None and self._refill.has_any()

    def _remove_damaged(self) -> bool:
        if not (self._is_cache or self._has_refill()):
            return False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with suppress(OSError):
            if self.path.stat().st_ino == self._inode:  # otherwise another process has made it again meanwhile
                for suffix in _BESIDE:
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return True

    def _inode_now(self) -> int:
        """That of the file, 0 where there is none; raises StorageError for what is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without an end
            problem = "is no plain file"
            raise StorageError(Fault(str(self.path), "", problem, "move it away; it is made again"))
        return found.st_ino

    def _is_empty(self) -> bool:
        try:
            return self.path.stat().st_size == 0
        except OSError:
            return True

    def _open(self, *, is_writing: bool) -> sqlite3.Connection | None:
        inode = self._inode_now()
        if self._connection is not None:
            if inode == self._inode:
                return self._connection
            self._connection.close()  # the file was deleted or replaced under us: start over
            self._connection = None
        self._inode = inode
        if not inode:
            if not is_writing:
                return None
            self.path.parent.mkdir(parents=True, exist_ok=True)
        # steps and sensors may look from several threads; the lock keeps them apart
        connection = sqlite3.connect(
            self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        weakref.finalize(self, connection.close)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0 and is_writing:
                self._make_tables(connection)
            elif version == 0:
                connection.close()
                return None
            elif version != self._version:
                raise StorageError(
                    Fault(str(self.path), "", "is from another version", "move it away; it is made again")
                )
            self._inode = self.path.stat().st_ino
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # another process may have made them while this one waited for its turn
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in self._schema.split(";"):
                    connection.execute(statement)
                if self._refill is not None:
                    self._refill.enter(connection)
                connection.execute(f"PRAGMA user_version = {self._version}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(str(error)) from error

    def _error(self, text: str) -> StorageError:
        problem, hint = f"cannot be used ({text})", "check the disk"
        if _is_damage(text):
            problem, hint = "is damaged", self._way_out()
        elif "full" in text:
            problem, hint = "the disk is full", "free some space and run again; nothing was kept"
        elif "locked" in text or "busy" in text:
            problem, hint = "another process keeps it locked", "wait for it to end"
        elif "readonly" in text or "unable to open" in text:
            problem, hint = f"cannot be written ({text})", "check the permissions"
        return StorageError(Fault(str(self.path), "", problem, hint))

    def _way_out(self) -> str:
        if self._is_cache or self._has_refill():
            return "run again; it is made again from what it was made of"
        return "put a sound copy there, or delete it; what it knew is made again"
