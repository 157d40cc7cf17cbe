"""The store: everything computed, by content and by fingerprint. Safe to delete, in whole or in part.

`objects/ab/<sha256>.<suffix>` holds bytes. `records/<kind>/<fingerprint>.json` says what one fingerprint became.
`current/<asset>.json` remembers what an asset was last made from, so that a plan can say what changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.core.fingerprints import hash_bytes, hash_file, short
from sq_pipeline.storage.atomic import copy_file, write_bytes, write_text


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


@dataclass(frozen=True)
class Store:
    """A store below `root`."""

    root: Path

    def put_bytes(self, content: bytes, suffix: str) -> StoredObject:
        """Keep `content`; the same content is kept once."""
        stored = self._name(hash_bytes(content), suffix, len(content))
        if not self._is_there(stored):
            write_bytes(self.path_of(stored), content)
        return stored

    def put_file(self, source: Path, suffix: str) -> StoredObject:
        """Keep a copy of a file."""
        stored = self._name(hash_file(source), suffix, source.stat().st_size)
        if not self._is_there(stored):
            copy_file(source, self.path_of(stored))
        return stored

    @staticmethod
    def _name(sha256: str, suffix: str, byte_count: int) -> StoredObject:
        digits = sha256.removeprefix("sha256:")
        return StoredObject(name=f"{digits[:2]}/{digits}{suffix}", sha256=sha256, byte_count=byte_count)

    def _is_there(self, stored: StoredObject) -> bool:
        try:
            return self.path_of(stored).stat().st_size == stored.byte_count
        except OSError:
            return False

    def path_of(self, stored: StoredObject) -> Path:
        """Where an object lies."""
        return self.root / "objects" / stored.name

    def _record_path(self, kind: str, fingerprint: str) -> Path:
        return self.root / "records" / kind / f"{fingerprint.removeprefix('sha256:')}.json"

    def read_record(self, kind: str, fingerprint: str) -> Record | None:
        """The record, or None where there is none, it is damaged, or an object of it is gone."""
        try:
            text = self._record_path(kind, fingerprint).read_text(encoding="utf-8")
            record = Record.model_validate_json(text)
        except (OSError, ValueError):  # what is not UTF-8, not JSON or not a record is a ValueError
            return None
        is_whole = record.fingerprint == fingerprint and all(map(self._is_there, record.objects.values()))
        return record if is_whole else None

    def write_record(self, record: Record) -> None:
        """Write a record; its objects must be in the store."""
        write_text(self._record_path(record.kind, record.fingerprint), record.model_dump_json(indent=1) + "\n")

    def _current_path(self, asset: str) -> Path:
        return self.root / "current" / f"{asset}.json"

    def read_current(self, asset: str) -> tuple[str, dict[str, Any]] | None:
        """The fingerprint and the inputs that an asset was last made from."""
        try:
            value = json.loads(self._current_path(asset).read_text(encoding="utf-8"))
            return str(value["fingerprint"]), dict(value["inputs"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_current(self, asset: str, fingerprint: str, inputs: Mapping[str, Any]) -> None:
        """Remember what an asset was made from; writes only when that changed."""
        known = self.read_current(asset)
        if known is None or known[0] != fingerprint:
            write_text(self._current_path(asset), json.dumps({"fingerprint": fingerprint, "inputs": inputs}) + "\n")

    def describe_missing(self, kind: str, fingerprint: str) -> str:
        """Why `read_record` gives None, in a few words."""
        is_known = self._record_path(kind, fingerprint).is_file()
        return "its file is gone from the store" if is_known else f"not made yet ({short(fingerprint)})"
