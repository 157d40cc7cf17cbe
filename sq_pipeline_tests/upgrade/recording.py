"""The demo's data directory as an earlier version left it: recorded as one JSON file, and built again from it.

What a person writes is recorded as it was, and all that the store knows. Of pictures, adapters and weights only sizes,
hashes and data versions are: their stand-ins are empty files of that size, and the cache of file findings is told what
they hold. So the recording is the same on every machine.

`demo.json` is changed by this command only, run over a demo that the version to upgrade *from* has made:

    git worktree add ../before COMMIT
    (cd ../before && uv run sq-pipeline demo ../before-demo)
    uv run python -m sq_pipeline_tests.upgrade.recording ../before-demo COMMIT

Record again when a pinned engine, or a revision in our code, is raised on purpose: then things are to be made again.
"""

import argparse
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sq_pipeline.common import stat_cache
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir, shipped_data_root
from sq_pipeline.common.stat_cache import StatCache
from sq_pipeline.pipeline.store import Record, Store

Files = dict[str, dict[str, tuple[int, str]]]  # folder: name: bytes, hash

RECORDING = Path(__file__).with_name("demo.json")
ENGINES = ("mlx", "mflux")
_TOKENIZER = "models/tiny-flux/tokenizer.json"  # prompts are counted with the real one
_MACHINE = ("chip", "provenance")  # of a record's info: what is of the machine, or said twice


# --- recording


def record(root: Path, commit: str) -> dict[str, Any]:
    """Everything that `build` needs of a demo that was made in `root`."""
    texts: dict[str, str] = {}
    files: Files = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith("store/") or not path.is_file():
            continue
        if path.suffix == ".yaml":
            texts[name] = path.read_text()
        else:
            files.setdefault(name.rpartition("/")[0], {})[path.name] = (path.stat().st_size, hash_file(path))
    with closing(sqlite3.connect(f"file:{root}/store/records.sqlite?mode=ro", uri=True)) as connection:
        records = [_record(row, files) for row in connection.execute("SELECT * FROM records ORDER BY 1, 2")]
        current = dict(connection.execute("SELECT asset, fingerprint FROM current ORDER BY 1"))
        published = list(connection.execute("SELECT genre, slug, fingerprint FROM published ORDER BY 1, 2"))
    with closing(sqlite3.connect(f"file:{root}/store/cache/files.sqlite?mode=ro", uri=True)) as connection:
        tensors = dict(connection.execute("SELECT path, value FROM files WHERE kind = 'tensors' ORDER BY 1"))
    return {
        "commit": commit,
        "engines": {name: version(name) for name in ENGINES},
        "texts": texts,
        "files": files,
        "tensors": tensors,
        "records": records,
        "current": current,
        "published": published,
    }


def _record(row: tuple[str, ...], files: Files) -> dict[str, Any]:
    """A row of the table; a dataset's files are given by its folder, because `files` has them already."""
    kind, fingerprint, inputs, data_version, objects, info = row
    values = json.loads(inputs)
    if kind == "training_dataset":
        values["files"] = next(folder for folder in files if _hashes(files[folder]) == values["files"])
    kept = {name: value for name, value in json.loads(info).items() if name not in _MACHINE}
    return {
        "kind": kind,
        "fingerprint": fingerprint,
        "inputs": values,
        "data_version": data_version,
        "objects": json.loads(objects),
        "info": kept,
    }


def _hashes(folder: dict[str, tuple[int, str]]) -> dict[str, str]:
    return {name: sha256 for name, (_, sha256) in folder.items()}


# --- building


def read_recording() -> dict[str, Any]:
    """The recording in the repository."""
    return json.loads(RECORDING.read_text())


def build(recording: dict[str, Any], root: Path) -> DataDir:
    """The recorded data directory, in a new folder `root`."""
    data = DataDir(root)
    for name, text in recording["texts"].items():
        _make(root / name, text.encode())
    for folder, found in recording["files"].items():
        for name, (byte_count, _) in found.items():
            _stand_in(root / folder / name, byte_count)
    _make(root / _TOKENIZER, (shipped_data_root() / _TOKENIZER).read_bytes())
    store = Store(data.store_root)
    with store.together():
        for values in recording["records"]:
            _enter(store, values, recording)
        for genre, slug, fingerprint in recording["published"]:
            store.write_published(genre, slug, fingerprint)
    _tell_what_files_hold(data, recording)
    return data


def _enter(store: Store, values: dict[str, Any], recording: dict[str, Any]) -> None:
    inputs = values["inputs"]
    if values["kind"] == "training_dataset":
        inputs = {**inputs, "files": _hashes(recording["files"][inputs["files"]])}
    record = Record.model_validate({**values, "inputs": inputs})
    for stored in record.objects.values():
        _stand_in(store.path_of(stored), stored.byte_count)
    store.write_record(record)
    for asset, fingerprint in recording["current"].items():
        if fingerprint == record.fingerprint:
            store.write_current(asset, record)


def _make(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _stand_in(path: Path, byte_count: int) -> None:
    """A file of that size that takes no space."""
    _make(path, b"")
    os.truncate(path, byte_count)


def _tell_what_files_hold(data: DataDir, recording: dict[str, Any]) -> None:
    cache, now_ns = StatCache(data), time.time_ns
    stat_cache.time.time_ns = lambda: now_ns() + 3_600_000_000_000  # an hour old: a file just written is not remembered
    try:
        for folder, files in recording["files"].items():
            for name, (_, sha256) in files.items():
                cache.remember(data.root / folder / name, "sha256", lambda sha256=sha256: sha256)
                if folder.endswith("images/poi"):
                    whose = json.dumps([None, f"landscape/{Path(name).stem}", sha256])
                    cache.remember(data.root / folder / name, "whose", lambda whose=whose: whose)
        objects = [stored for values in recording["records"] for stored in values["objects"].values()]
        for name, sha256 in {(stored["name"], stored["sha256"]) for stored in objects}:
            cache.remember(data.store_root / "objects" / name, "sha256", lambda sha256=sha256: sha256)
        for name, found in recording["tensors"].items():
            cache.remember(data.root / name, "tensors", lambda found=found: found)
        cache.save()
    finally:
        stat_cache.time.time_ns = now_ns


def main() -> None:
    """Write the recording again."""
    parser = argparse.ArgumentParser(description="Record a demo's data directory as the one to upgrade from.")
    parser.add_argument("root", type=Path, help="where the version to upgrade from has made its demo")
    parser.add_argument("commit", help="that version")
    given = parser.parse_args()
    RECORDING.write_text(json.dumps(record(given.root, given.commit), ensure_ascii=False, indent=0) + "\n")
    sys.stderr.write(f"{RECORDING}: {RECORDING.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
