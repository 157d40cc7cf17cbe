"""Each record as a file of its own beside the objects: what the index is made of again where that is lost.

`records/ab/<hash of kind and fingerprint>.jsonl` has two lines: the record; a hash of that line, and the claims on it,
each with the time at which it was made: which assets are this record now, in which places the game has its picture.
Not here: the index (`pipeline.store`).
"""

import json
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.fingerprints import hash_bytes, short
from sq_pipeline.pipeline.stored_objects import StoredObject

_OBJECTS = TypeAdapter(dict[str, StoredObject])


class Record(BaseModel):
    """What the inputs with this fingerprint became. `inputs` are named, `info` is for people and reports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    fingerprint: str
    inputs: dict[str, Any]
    data_version: str
    objects: dict[str, StoredObject] = {}
    info: dict[str, Any] = {}


Row = tuple[str, str, str, str, str, str]  # kind, fingerprint, inputs, data version, objects, info; texts of JSON


def to_row(record: Record) -> Row:
    """The record as the texts that a database keeps."""
    objects = _OBJECTS.dump_json(record.objects).decode()
    return (
        record.kind,
        record.fingerprint,
        json.dumps(record.inputs),
        record.data_version,
        objects,
        json.dumps(record.info),
    )


def from_row(row: Row) -> Record | None:
    """The record; None where a text is damaged."""
    kind, fingerprint, inputs, data_version, objects, info = row
    try:
        return Record.model_construct(
            kind=kind,
            fingerprint=fingerprint,
            inputs=json.loads(inputs),
            data_version=data_version,
            objects=_OBJECTS.validate_json(objects),
            info=json.loads(info),
        )
    except ValueError:
        return None


@dataclass(frozen=True)
class Entry:
    """A record, and the claims on it: `current <asset>` or `published <genre>/<slug>`, with nanoseconds of time."""

    record: Record
    claims: Mapping[str, int]


class RecordFiles:
    """The files of records below `root`. Raises StorageError where the disk refuses."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def is_there(self) -> bool:
        """True where records were ever kept as files."""
        return self._root.is_dir()

    def read(self, kind: str, fingerprint: str) -> Entry | None:
        """The record; None where it has no file, or a damaged one."""
        entry = _read(self._root / _name(kind, fingerprint))
        is_it = entry is not None and (entry.record.kind, entry.record.fingerprint) == (kind, fingerprint)
        return entry if is_it else None

    def read_all(self) -> Iterator[Entry]:
        """All that can be read."""
        for path in self._root.glob("??/*.jsonl"):
            if entry := _read(path):
                yield entry

    def write(self, record: Record, claims: Mapping[str, int]) -> None:
        """Keep a record. One that is made again without work need not outlive a power cut."""
        write_bytes(
            self._root / _name(record.kind, record.fingerprint), _text(record, claims), flush=bool(record.objects)
        )

    def write_all(self, entries: Iterable[Entry]) -> int:
        """Keep these where none was kept before, all or none; returns how many."""
        new, count = RecordFiles(self._root.with_suffix(".new")), 0
        shutil.rmtree(new._root, ignore_errors=True)  # what another process that died left
        new._root.mkdir(parents=True)
        for entry in entries:
            path = new._root / _name(entry.record.kind, entry.record.fingerprint)
            write_bytes(path, _text(entry.record, entry.claims), flush=False)
            count += 1
        new._root.rename(self._root)
        return count


def _name(kind: str, fingerprint: str) -> str:
    digits = short(hash_bytes(f"{kind} {fingerprint}".encode()), 64)
    return f"{digits[:2]}/{digits}.jsonl"


def _text(record: Record, claims: Mapping[str, int]) -> bytes:
    said = json.dumps(to_row(record)).encode()
    return said + b"\n" + json.dumps({"sha256": hash_bytes(said), "claims": claims}).encode() + b"\n"


def _read(path: Path) -> Entry | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None  # a pipe would be waited for without an end
        said, _, more = path.read_bytes().partition(b"\n")
        about = json.loads(more)
        if about["sha256"] != hash_bytes(said):
            return None
        record = from_row(json.loads(said))
        return None if record is None else Entry(record, {str(key): int(at) for key, at in about["claims"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
