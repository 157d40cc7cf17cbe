"""The store: everything computed, by content and by fingerprint. Safe to delete, in whole or in part.

`objects/ab/<sha256>.<suffix>` holds bytes, `records/` a file for each record: what a fingerprint became.
`records.sqlite` is the index: the records again, what every asset was last made from (so that a plan can say what
changed), which picture of each place the game has, and which worlds were found complete. It is made again from the
records where it is lost. Not here: objects (`stored_objects`), the records' files (`record_files`).
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from sq_pipeline.common.fingerprints import short
from sq_pipeline.common.sqlite_file import Refill, SqliteFile
from sq_pipeline.common.stat_cache import StatCache
from sq_pipeline.pipeline.record_files import Entry, Record, RecordFiles, from_row, to_row
from sq_pipeline.pipeline.stored_objects import StoredObject, StoredObjects

__all__ = ["Record", "Store", "StoredObject"]

_SCHEMA = """
CREATE TABLE records (kind TEXT, fingerprint TEXT, inputs TEXT, data_version TEXT, objects TEXT, info TEXT,
                      PRIMARY KEY (kind, fingerprint)) WITHOUT ROWID;
CREATE TABLE current (asset TEXT PRIMARY KEY, kind TEXT, fingerprint TEXT) WITHOUT ROWID;
CREATE TABLE published (genre TEXT, slug TEXT, fingerprint TEXT, PRIMARY KEY (genre, slug)) WITHOUT ROWID;
CREATE TABLE settled (owner TEXT PRIMARY KEY, key TEXT, value TEXT) WITHOUT ROWID
"""

_PUT_RECORD = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)"
_PUT_CURRENT = "INSERT OR REPLACE INTO current VALUES (?, ?, ?)"
_PUT_PUBLISHED = "INSERT OR REPLACE INTO published VALUES (?, ?, ?)"
_PICTURE = "picture"  # the kind of record whose pictures are published


@dataclass
class _Pending:
    """What the file of a record is to say once all that is written together is written. A claim of 0 is dropped."""

    record: Record | None = None
    claims: dict[str, int] = field(default_factory=dict[str, int])


class Store(StoredObjects):
    """A store below `root`. Raises StorageError when its index is damaged for good, or the disk refuses."""

    def __init__(self, root: Path, files: StatCache | None = None) -> None:
        super().__init__(root / "objects", files)
        self.root = root
        self._record_files = RecordFiles(root / "records")
        refill = Refill(self._record_files.is_there, self._enter_records)
        self._file = SqliteFile(root / "records.sqlite", _SCHEMA, 1, refill=refill)
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._depth = 0
        self._notes: list[str] = []

    # --- the index and the files that it is made from

    def keep_records_as_files(self) -> None:
        """Once, for a store of before: write a file for each record of an index that is sound."""
        if self._record_files.is_there():
            return
        if not self._file.path.exists() or self._file.path.stat().st_size == 0:
            if any((self.root / "objects").glob("??/*")):
                self._notes.append(f"{_INDEX} is gone, and no record has a file: what is needed is made again")
            return
        with self._file.writing() as connection:
            if not self._record_files.is_there():
                self._record_files.write_all(_entries_in(connection))

    def describe_state(self) -> list[str]:
        """What a person should hear of: an index that was made again, objects that are damaged."""
        return [*self._notes, *self.describe_damage()]

    def _enter_records(self, connection: Connection) -> None:
        """Enter all records into an empty index."""
        entries = list(self._record_files.read_all())
        connection.executemany(_PUT_RECORD, [to_row(entry.record) for entry in entries])
        # the latest claim on a name stands
        claims = sorted((at, key, entry.record) for entry in entries for key, at in entry.claims.items())
        for _, key, record in claims:
            what, _, name = key.partition(" ")
            if what == "current":
                connection.execute(_PUT_CURRENT, (name, record.kind, record.fingerprint))
            else:
                genre, _, slug = name.partition("/")
                connection.execute(_PUT_PUBLISHED, (genre, slug, record.fingerprint))
        if entries:
            self._notes.append(f"{_INDEX} was gone or damaged; it is made again from {len(entries)} records")

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._file.writing() as connection:
            self._depth += 1
            try:
                yield connection
                if self._depth == 1:
                    self._write_files()
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._pending.clear()

    def _write_files(self) -> None:
        """Before the index is: a record without a line in it is found all the same."""
        for (kind, fingerprint), pending in self._pending.items():
            known = self._record_files.read(kind, fingerprint)
            record = pending.record or (known.record if known else self._read_row(kind, fingerprint))
            if record is not None:
                claims = {**(known.claims if known else {}), **pending.claims}
                self._record_files.write(record, {key: at for key, at in claims.items() if at})

    def _claim(self, kind: str, fingerprint: str, key: str, *, is_made: bool = True) -> None:
        pending = self._pending.setdefault((kind, fingerprint), _Pending())
        pending.claims[key] = time.time_ns() if is_made else 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written inside is kept at once, or not at all."""
        with self._writing():
            yield

    def insist_writable(self) -> None:
        """Raise StorageError where nothing could be kept: before the work, and not after hours of it."""
        with self._writing() as connection:
            connection.execute("DELETE FROM settled WHERE 0")  # SQLite asks for the right to write, and does nothing

    # --- records

    def read_known(self, kind: str, fingerprint: str) -> Record | None:
        """The record, whatever became of its objects; None where there is none."""
        if (kind, fingerprint) in self._pending:  # its file is an older one
            return self._read_row(kind, fingerprint)
        entry = self._record_files.read(kind, fingerprint)
        return self._read_row(kind, fingerprint) if entry is None else entry.record

    def read_record(self, kind: str, fingerprint: str) -> Record | None:
        """The record, or None where there is none, or an object of it is gone or damaged."""
        record = self.read_known(kind, fingerprint)
        return record if record is not None and not any(map(self.why_missing, record.objects.values())) else None

    def _read_row(self, kind: str, fingerprint: str) -> Record | None:
        rows = self._file.read("SELECT * FROM records WHERE kind = ? AND fingerprint = ?", (kind, fingerprint))
        return from_row(rows[0]) if rows else None  # pyright: ignore[reportArgumentType]

    def write_record(self, record: Record) -> None:
        """Write a record; its objects must be in the store."""
        with self._writing() as connection:
            connection.execute(_PUT_RECORD, to_row(record))
            self._pending.setdefault((record.kind, record.fingerprint), _Pending()).record = record

    def describe_missing(self, kind: str, fingerprint: str) -> str:
        """Why `read_record` gives None, in a few words."""
        record = self.read_known(kind, fingerprint)
        if record is None:
            return f"not made yet ({short(fingerprint)})"
        found = ((name, self.describe_missing_object(stored)) for name, stored in record.objects.items())
        problems = [f"{name}: {problem}" for name, problem in found if problem]
        return "; ".join(problems) or "its file was gone from the store"

    # --- what every asset was last made from

    def read_all_current(self) -> dict[str, str]:
        """The fingerprint that each asset was last made from."""
        return dict(self._file.read("SELECT asset, fingerprint FROM current"))

    def read_current(self, asset: str) -> tuple[str, dict[str, Any]] | None:
        """The fingerprint and the inputs that an asset was last made from."""
        rows = self._file.read("SELECT kind, fingerprint FROM current WHERE asset = ?", (asset,))
        record = self.read_known(*rows[0]) if rows else None
        return None if record is None else (record.fingerprint, record.inputs)

    def read_current_fingerprint(self, asset: str) -> str | None:
        """The fingerprint that an asset was last made from."""
        rows = self._file.read("SELECT fingerprint FROM current WHERE asset = ?", (asset,))
        return rows[0][0] if rows else None

    def write_current(self, asset: str, record: Record) -> None:
        """Remember what an asset was made from; writes only when that changed. Its owner is no longer settled."""
        if self.read_current_fingerprint(asset) == record.fingerprint:
            return
        with self._writing() as connection:
            connection.execute(_PUT_CURRENT, (asset, record.kind, record.fingerprint))
            folder = asset.rpartition("/")[0]
            connection.execute("DELETE FROM settled WHERE owner = ? OR owner LIKE ? || ':%'", (folder, folder))
            self._claim(record.kind, record.fingerprint, f"current {asset}")

    # --- pictures that the game has

    def read_published(self, genre: str) -> dict[str, str]:
        """By slug, the fingerprint of each picture that the game was given last."""
        return dict(self._file.read("SELECT slug, fingerprint FROM published WHERE genre = ?", (genre,)))

    def write_published(self, genre: str, slug: str, fingerprint: str) -> None:
        """Remember which picture the game was given."""
        query = "SELECT 1 FROM published WHERE genre = ? AND slug = ? AND fingerprint = ?"
        if self._file.read(query, (genre, slug, fingerprint)):
            return
        with self._writing() as connection:
            connection.execute(_PUT_PUBLISHED, (genre, slug, fingerprint))
            self._claim(_PICTURE, fingerprint, f"published {genre}/{slug}")

    def forget_published(self, genre: str, slug: str) -> None:
        """The game is no longer given this picture."""
        with self._writing() as connection:
            gone = connection.execute(
                "DELETE FROM published WHERE genre = ? AND slug = ? RETURNING fingerprint", (genre, slug)
            ).fetchall()
            for (fingerprint,) in gone:
                self._claim(_PICTURE, fingerprint, f"published {genre}/{slug}", is_made=False)

    def given_at(self, genre: str, slug: str, about: str) -> Iterator[tuple[Record, int]]:
        """Each picture that the game was given under this name, and when that was last, in nanoseconds since 1970.

        `about`: the slug that records of such pictures tell.
        """
        said = json.dumps({"slug": about})[1:-1]
        query = "SELECT fingerprint FROM records WHERE kind = ? AND instr(info, ?) > 0"
        for (fingerprint,) in self._file.read(query, (_PICTURE, said)):
            entry = self._record_files.read(_PICTURE, fingerprint)
            at = 0 if entry is None else entry.claims.get(f"published {genre}/{slug}", 0)
            if entry is not None and at:
                yield entry.record, at

    # --- worlds found complete

    def read_settled(self, owner: str, key: str) -> Any:
        """What `write_settled` was given for this owner and key, if nothing of the owner was made since; or None."""
        rows = self._file.read("SELECT value FROM settled WHERE owner = ? AND key = ?", (owner, key))
        try:
            return json.loads(rows[0][0]) if rows else None
        except ValueError:
            return None

    def write_settled(self, owner: str, key: str, value: Any) -> None:
        """Remember that all assets of `owner` are as `key` wants them.

        An owner is what their names have before the last `/`, and may say after a `:` which of them are meant.
        """
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", (owner, key, json.dumps(value)))


_INDEX = "store/records.sqlite"


def _entries_in(connection: Connection) -> Iterable[Entry]:
    """The records of an index, with the claims that it has on them, all as old as each other."""
    claims: dict[tuple[str, str], dict[str, int]] = {}
    now = time.time_ns()
    for asset, kind, fingerprint in connection.execute("SELECT asset, kind, fingerprint FROM current"):
        claims.setdefault((kind, fingerprint), {})[f"current {asset}"] = now
    for genre, slug, fingerprint in connection.execute("SELECT genre, slug, fingerprint FROM published"):
        claims.setdefault((_PICTURE, fingerprint), {})[f"published {genre}/{slug}"] = now
    for row in connection.execute("SELECT * FROM records"):
        if record := from_row(row):
            yield Entry(record, claims.get((record.kind, record.fingerprint), {}))
