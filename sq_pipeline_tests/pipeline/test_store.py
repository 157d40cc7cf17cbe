"""The store and the data directory: what is kept once, what counts as gone, what an asset was last made from."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sq_pipeline.common.errors import StorageError
from sq_pipeline.common.fingerprints import fingerprint, hash_bytes
from sq_pipeline.common.layout import DataDir, data_root, open_data_dir, shipped_data_root
from sq_pipeline.common.sqlite_file import SqliteFile
from sq_pipeline.pipeline.store import Record, Store, StoredObject
from sq_pipeline_tests.builders import faults_of, names_below

PRINT = fingerprint({"a": 1})
KIND = "poi_image"


def _keep(store: Store, content: bytes = b"pixels") -> Record:
    record = Record(
        kind=KIND,
        fingerprint=PRINT,
        inputs={"prompt": "a café", "adapters": [{"lora_scale": 0.8}]},
        data_version=hash_bytes(content),
        objects={"picture": store.put_bytes(content, ".png")},
        info={"wall_s": 1.5},
    )
    store.write_record(record)
    return record


RECORDS = "records.sqlite"


# --- objects


def test_an_object_lies_under_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stored = store.put_bytes(b"pixels", ".png")
    digits = hash_bytes(b"pixels").removeprefix("sha256:")
    assert stored == StoredObject(name=f"{digits[:2]}/{digits}.png", sha256=f"sha256:{digits}", byte_count=6)
    assert store.lend(stored) == tmp_path / "objects" / digits[:2] / f"{digits}.png"
    assert store.lend(stored).read_bytes() == b"pixels"


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    store, source = Store(tmp_path / "store"), tmp_path / "source"
    source.write_bytes(b"pixels")
    first = store.put_bytes(b"pixels", ".png")
    inode = store.lend(first).stat().st_ino
    assert store.put_bytes(b"pixels", ".png") == first
    assert store.put_file(source, ".png") == first
    assert store.lend(first).stat().st_ino == inode  # not even written again
    assert len(names_below(tmp_path / "store")) == 1
    assert store.put_bytes(b"other", ".png") != first
    assert len(names_below(tmp_path / "store")) == 2


def test_a_cut_off_object_is_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stored = store.put_bytes(b"pixels", ".png")
    store.lend(stored).write_bytes(b"pix")
    store.put_bytes(b"pixels", ".png")
    assert store.lend(stored).read_bytes() == b"pixels"


@pytest.mark.parametrize(
    "name", ["../../sq.yaml", "/etc/passwd", "ab/../../x", "ab/" + "0" * 64 + "/../../x", "ab/" + "0" * 63, ""]
)
def test_an_object_cannot_lie_elsewhere(name: str) -> None:
    with pytest.raises(ValidationError):
        StoredObject(name=name, sha256="sha256:00", byte_count=1)


# --- records


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = _keep(store)
    assert store.read_record(KIND, PRINT) == record


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    record = _keep(Store(tmp_path / "old"))
    assert str(tmp_path).encode() not in (tmp_path / "old" / RECORDS).read_bytes()
    (tmp_path / "old").rename(tmp_path / "new")
    assert Store(tmp_path / "new").read_record(KIND, PRINT) == record


def test_what_is_written_together_is_kept_together(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def break_off() -> None:
        with store.together():
            store.write_current(ASSET, _keep(store))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert store.read_record(KIND, PRINT) is None
    assert store.read_current(ASSET) is None


def test_tables_that_another_made_meanwhile_are_taken_as_they_are(tmp_path: Path) -> None:
    """Two begin on a missing file: both saw none, one makes the tables, the other must not make them again."""
    first, second = (SqliteFile(tmp_path / "x.sqlite", "CREATE TABLE t (a TEXT)", 1) for _ in range(2))
    with closing(sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)) as late:
        assert late.execute("PRAGMA user_version").fetchone() == (0,)
        with first.writing() as connection:
            connection.execute("INSERT INTO t VALUES ('kept')")
        second._make_tables(late)
    assert second.read("SELECT a FROM t") == [("kept",)]


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Each of four processes keeps 25 records; none is lost and nobody fails."""
    code = (
        "import sys; from pathlib import Path\n"
        "from sq_pipeline.pipeline.store import Record, Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for i in range(25):\n"
        "    name = f'{sys.argv[2]}-{i}'\n"
        "    record = Record(kind='k', fingerprint=name, inputs={}, data_version=name)\n"
        "    store.write_record(record)\n"
        "    store.write_current(f'g/worlds/w/{name}', record)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    store = Store(tmp_path)
    for name in (f"{n}-{i}" for n in range(4) for i in range(25)):
        assert store.read_record("k", name) is not None
        assert store.read_current_fingerprint(f"g/worlds/w/{name}") == name


@pytest.mark.parametrize("content", [None, b"", b"pixel"])
def test_a_record_whose_object_is_gone_or_cut_is_none_until_it_is_made_again(
    tmp_path: Path, content: bytes | None
) -> None:
    store = Store(tmp_path)
    path = store.lend(_keep(store).objects["picture"])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert store.read_record(KIND, PRINT) is None
    assert store.describe_missing(KIND, PRINT).startswith("picture: store/objects/")
    assert store.read_record(KIND, _keep(store).fingerprint) is not None


def test_what_was_never_made_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.read_record(KIND, PRINT) is None
    assert store.describe_missing(KIND, PRINT).startswith("not made yet")


def test_kinds_are_kept_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _keep(store)
    assert store.read_record("gallery", PRINT) is None


# --- what an asset was last made from

ASSET = "western/worlds/mccoy/poi_images/saloon"


def _record(inputs: dict[str, Any]) -> Record:
    return Record(kind=KIND, fingerprint=fingerprint(inputs), inputs=inputs, data_version="v")


def _make(store: Store, asset: str, inputs: dict[str, Any]) -> Record:
    record = _record(inputs)
    store.write_record(record)
    store.write_current(asset, record)
    return record


def test_current_remembers_fingerprint_and_inputs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read_current(ASSET) is None
    for inputs in ({"prompt": "a café"}, {"prompt": "a bank"}):
        record = _make(store, ASSET, inputs)
        assert store.read_current(ASSET) == (record.fingerprint, inputs)
        assert store.read_current_fingerprint(ASSET) == record.fingerprint
    assert store.read_current("western/worlds/mccoy/poi_images/bank") is None


def test_current_is_written_only_when_it_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = _make(store, ASSET, {})
    content = (tmp_path / RECORDS).read_bytes()
    store.write_current(ASSET, record)
    assert (tmp_path / RECORDS).read_bytes() == content


def test_published_is_by_genre_and_slug(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read_published("western") == {}
    store.write_published("western", "saloon", "a")
    store.write_published("western", "bank", "b")
    store.write_published("western", "saloon", "c")
    store.write_published("sea", "saloon", "d")
    assert store.read_published("western") == {"saloon": "c", "bank": "b"}


# --- worlds found complete

OWNER = ASSET.rpartition("/")[0]


def test_what_is_settled_stands_until_something_of_its_owner_is_made(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_settled(OWNER, "key", [1, 2])
    assert store.read_settled(OWNER, "key") == [1, 2]
    assert store.read_settled(OWNER, "other key") is None
    _make(store, "western/worlds/other/poi_images:saloon", {})
    assert store.read_settled(OWNER, "key") == [1, 2]
    record = _make(store, ASSET, {})
    assert store.read_settled(OWNER, "key") is None
    store.write_settled(OWNER, "key", [3])
    store.write_current(ASSET, record)  # as it was
    assert store.read_settled(OWNER, "key") == [3]


# --- the data directory


@pytest.mark.parametrize(
    ("path", "relative"),
    [("content/lora/a.safetensors", "content/lora/a.safetensors"), ("sq.yaml", "sq.yaml"), ("", ".")],
)
def test_paths_inside_are_relative(tmp_path: Path, path: str, relative: str) -> None:
    assert DataDir(tmp_path).relative(tmp_path / path) == relative


def test_paths_outside_stay_as_they_are(tmp_path: Path) -> None:
    assert DataDir(tmp_path / "data").relative(tmp_path / "data2" / "x") == str(tmp_path / "data2" / "x")


@pytest.mark.parametrize("make", [None, "empty", "file", "content is a file"])
def test_what_is_no_data_directory_is_said_in_one_line(tmp_path: Path, make: str | None) -> None:
    root = tmp_path / "data"
    if make == "file":
        root.write_text("x")
    elif make is not None:
        root.mkdir()
    if make == "content is a file":
        (root / "content").write_text("x")
    (fault,) = faults_of(lambda: open_data_dir(root), StorageError)
    assert fault.file == str(root)
    assert "not a data directory" in fault.problem
    assert "demo" in fault.hint


def test_an_opened_data_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "content").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_data_dir(Path()).root == tmp_path.resolve()


def test_which_data_directory_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQ_DATA", str(tmp_path / "from_environment"))
    assert data_root(tmp_path) == tmp_path
    assert data_root(None) == tmp_path / "from_environment"
    monkeypatch.delenv("SQ_DATA")
    assert data_root(None) == shipped_data_root()
    assert (shipped_data_root() / "content").is_dir()
