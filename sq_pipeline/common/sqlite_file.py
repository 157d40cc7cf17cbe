"""A small SQLite file: opened when first needed, one transaction at a time, its errors told in our words.

SQLite keeps several processes apart: a writer waits for another one, and what was not committed never was.
"""

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import Fault, StorageError

_WAIT_S = 60.0  # for another process that writes


class SqliteFile:
    """One database file with a schema. A missing file is empty to a reader; a writer makes it."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        self._schema = schema
        self._version = version
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; none where the file is missing. Raises StorageError for a damaged file."""
        with self._lock, self._told():
            connection = self._open(is_writing=False)
            return connection.execute(query, values).fetchall() if connection is not None else []

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed when the block ends well, undone otherwise. Raises StorageError."""
        with self._lock, self._told():
            connection = self._open(is_writing=True)
            assert connection is not None
            if connection.in_transaction:  # inside another block of this object: one transaction
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open(self, *, is_writing: bool) -> sqlite3.Connection | None:
        if self._connection is not None:
            if self.path.exists():
                return self._connection
            self._connection.close()  # the file was deleted under us: start over
            self._connection = None
        if not self.path.exists():
            if not is_writing:
                return None
            self.path.parent.mkdir(parents=True, exist_ok=True)
        # steps and sensors may look from several threads; the lock keeps them apart
        connection = sqlite3.connect(
            self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        weakref.finalize(self, connection.close)
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and is_writing:
            self._make_tables(connection)
        elif version == 0:
            connection.close()
            return None
        elif version != self._version:
            connection.close()
            raise StorageError(Fault(str(self.path), "", "is from another version", "delete it; it is made again"))
        self._connection = connection
        return connection

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # another process may have made them while this one waited for its turn
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                for statement in self._schema.split(";"):
                    connection.execute(statement)
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
            text = str(error)
            problem, hint = f"cannot be used ({text})", "check the disk"
            if "full" in text:
                problem, hint = "the disk is full", "free some space and run again; nothing was kept"
            elif "locked" in text or "busy" in text:
                problem, hint = "another process keeps it locked", "wait for it to end"
            elif "readonly" in text or "unable to open" in text:
                problem, hint = f"cannot be written ({text})", "check the permissions"
            elif isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
                problem, hint = "is damaged", "delete it; what it knew is made again"
            raise StorageError(Fault(str(self.path), "", problem, hint)) from error
