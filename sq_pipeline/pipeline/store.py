"""The store: everything computed, by content and by fingerprint. Safe to delete, in whole or in part.

`objects/ab/<sha256>.<suffix>` holds bytes. `records.sqlite` says what each fingerprint became, what every asset was
last made from (so that a plan can say what changed), which picture of each place the game has, and which worlds were
found complete.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sq_pipeline.common.atomic import copy_file, write_bytes
from sq_pipeline.common.fingerprints import hash_bytes, hash_file, short
from sq_pipeline.common.sqlite_file import SqliteFile

_SCHEMA = """
CREATE TABLE records (kind TEXT, fingerprint TEXT, inputs TEXT, data_version TEXT, objects TEXT, info TEXT,
                      PRIMARY KEY (kind, fingerprint)) WITHOUT ROWID;
CREATE TABLE current (asset TEXT PRIMARY KEY, kind TEXT, fingerprint TEXT) WITHOUT ROWID;
CREATE TABLE published (genre TEXT, slug TEXT, fingerprint TEXT, PRIMARY KEY (genre, slug)) WITHOUT ROWID;
CREATE TABLE settled (owner TEXT PRIMARY KEY, key TEXT, value TEXT) WITHOUT ROWID
"""

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class StoredObject(BaseModel):
    """One object: its place under `objects/`, its hash and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[0-9a-f]{2}/[0-9a-f]{64}(\.\w+)*$")
    sha256: str
    byte_count: int


class Record(BaseModel):
    """What the inputs with this fingerprint became. `inputs` are named, `info` is for people and reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    fingerprint: str
    inputs: dict[str, Any]
    data_version: str
    objects: dict[str, StoredObject] = {}
    info: dict[str, Any] = {}


_OBJECTS = TypeAdapter(dict[str, StoredObject])


def _name(sha256: str, suffix: str) -> str:
    digits = sha256.removeprefix("sha256:")
    return f"{digits[:2]}/{digits}{suffix}"


def _stored(sha256: str, suffix: str, byte_count: int) -> StoredObject:
    return StoredObject(name=_name(sha256, suffix), sha256=sha256, byte_count=byte_count)


class Store:
    """A store below `root`. Raises StorageError when its file of records is damaged or the disk refuses."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._file = SqliteFile(root / "records.sqlite", _SCHEMA, 1)

    def put_bytes(self, content: bytes, suffix: str) -> StoredObject:
        """Keep `content`; the same content is kept once."""
        stored = _stored(hash_bytes(content), suffix, len(content))
        if not self._is_there(stored):
            write_bytes(self._path_of(stored), content)
        return stored

    def put_file(self, source: Path, suffix: str) -> StoredObject:
        """Keep a copy of a file."""
        stored = _stored(hash_file(source), suffix, source.stat().st_size)
        if not self._is_there(stored):
            copy_file(source, self._path_of(stored))
        return stored

    def read_bytes(self, stored: StoredObject) -> bytes:
        """An object's bytes; raises OSError where it is gone."""
        return self._path_of(stored).read_bytes()

    def read_text(self, stored: StoredObject) -> str:
        """An object's text, in UTF-8; raises OSError where it is gone."""
        return self._path_of(stored).read_text(encoding="utf-8")

    def lend(self, stored: StoredObject) -> Path:
        """Where an object lies, for a loader that opens files by itself: to be read, and not to be kept or changed."""
        return self._path_of(stored)

    def find(self, sha256: str, suffix: str) -> StoredObject | None:
        """The object with this hash, if it is there; None too for what is no hash."""
        if not _HASH.fullmatch(sha256):
            return None
        try:
            byte_count = (self.root / "objects" / _name(sha256, suffix)).stat().st_size
        except OSError:
            return None
        return _stored(sha256, suffix, byte_count)

    def are_there(self, sizes: Iterable[tuple[str, int]]) -> bool:
        """True when objects of these names and sizes in bytes are all there."""
        objects = str(self.root / "objects")
        try:
            # plain strings: a large game has tens of thousands of them
            return all(os.stat(f"{objects}/{name}").st_size == byte_count for name, byte_count in sizes)  # noqa: PTH116
        except OSError:
            return False

    def _is_there(self, stored: StoredObject) -> bool:
        try:
            return self._path_of(stored).stat().st_size == stored.byte_count
        except OSError:
            return False

    def _path_of(self, stored: StoredObject) -> Path:
        return self.root / "objects" / stored.name

    def read_record(self, kind: str, fingerprint: str) -> Record | None:
        """The record, or None where there is none, or an object of it is gone."""
        query = "SELECT inputs, data_version, objects, info FROM records WHERE kind = ? AND fingerprint = ?"
        rows = self._file.read(query, (kind, fingerprint))
        if not rows:
            return None
        inputs, data_version, objects, info = rows[0]
        record = Record.model_construct(
            kind=kind,
            fingerprint=fingerprint,
            inputs=json.loads(inputs),
            data_version=data_version,
            objects=_OBJECTS.validate_json(objects),
            info=json.loads(info),
        )
        return record if all(map(self._is_there, record.objects.values())) else None

    def write_record(self, record: Record) -> None:
        """Write a record; its objects must be in the store."""
        row = (
            record.kind,
            record.fingerprint,
            json.dumps(record.inputs),
            record.data_version,
            _OBJECTS.dump_json(record.objects).decode(),
            json.dumps(record.info),
        )
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)", row)

    def read_current(self, asset: str) -> tuple[str, dict[str, Any]] | None:
        """The fingerprint and the inputs that an asset was last made from."""
        query = "SELECT fingerprint, inputs FROM current JOIN records USING (kind, fingerprint) WHERE asset = ?"
        rows = self._file.read(query, (asset,))
        return (rows[0][0], json.loads(rows[0][1])) if rows else None

    def read_current_fingerprint(self, asset: str) -> str | None:
        """The fingerprint that an asset was last made from."""
        rows = self._file.read("SELECT fingerprint FROM current WHERE asset = ?", (asset,))
        return rows[0][0] if rows else None

    def write_current(self, asset: str, record: Record) -> None:
        """Remember what an asset was made from; writes only when that changed. Its owner is no longer settled."""
        if self.read_current_fingerprint(asset) == record.fingerprint:
            return
        with self._file.writing() as connection:
            row = (asset, record.kind, record.fingerprint)
            connection.execute("INSERT OR REPLACE INTO current VALUES (?, ?, ?)", row)
            folder = asset.rpartition("/")[0]
            connection.execute("DELETE FROM settled WHERE owner = ? OR owner LIKE ? || ':%'", (folder, folder))

    def read_published(self, genre: str) -> dict[str, str]:
        """By slug, the fingerprint of each picture that the game was given last."""
        return dict(self._file.read("SELECT slug, fingerprint FROM published WHERE genre = ?", (genre,)))

    def write_published(self, genre: str, slug: str, fingerprint: str) -> None:
        """Remember which picture the game was given."""
        query = "SELECT 1 FROM published WHERE genre = ? AND slug = ? AND fingerprint = ?"
        if self._file.read(query, (genre, slug, fingerprint)):
            return
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO published VALUES (?, ?, ?)", (genre, slug, fingerprint))

    def forget_published(self, genre: str, slug: str) -> None:
        """The game is no longer given this picture."""
        with self._file.writing() as connection:
            connection.execute("DELETE FROM published WHERE genre = ? AND slug = ?", (genre, slug))

    def read_settled(self, owner: str, key: str) -> Any:
        """What `write_settled` was given for this owner and key, if nothing of the owner was made since; or None."""
        rows = self._file.read("SELECT value FROM settled WHERE owner = ? AND key = ?", (owner, key))
        return json.loads(rows[0][0]) if rows else None

    def write_settled(self, owner: str, key: str, value: Any) -> None:
        """Remember that all assets of `owner` are as `key` wants them.

        An owner is what their names have before the last `/`, and may say after a `:` which of them are meant.
        """
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO settled VALUES (?, ?, ?)", (owner, key, json.dumps(value)))

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written inside is kept at once, or not at all."""
        with self._file.writing():
            yield

    def describe_missing(self, kind: str, fingerprint: str) -> str:
        """Why `read_record` gives None, in a few words."""
        query = "SELECT 1 FROM records WHERE kind = ? AND fingerprint = ?"
        is_known = bool(self._file.read(query, (kind, fingerprint)))
        return "its file is gone from the store" if is_known else f"not made yet ({short(fingerprint)})"
