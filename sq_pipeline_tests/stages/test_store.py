"""The store and the data directory: what is kept once, what counts as gone, what an asset was last made from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from sq_pipeline.core.errors import StorageError
from sq_pipeline.core.fingerprints import fingerprint, hash_bytes
from sq_pipeline.storage.layout import DataDir, data_root, open_data_dir, shipped_data_root
from sq_pipeline.storage.store import Record, Store, StoredObject
from sq_pipeline_tests.stages.builders import faults_of, names_below

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


def _record_file(store: Store) -> Path:
    return store.root / "records" / KIND / f"{PRINT.removeprefix('sha256:')}.json"


# --- objects


def test_an_object_lies_under_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stored = store.put_bytes(b"pixels", ".png")
    digits = hash_bytes(b"pixels").removeprefix("sha256:")
    assert stored == StoredObject(name=f"{digits[:2]}/{digits}.png", sha256=f"sha256:{digits}", byte_count=6)
    assert store.path_of(stored) == tmp_path / "objects" / digits[:2] / f"{digits}.png"
    assert store.path_of(stored).read_bytes() == b"pixels"


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    store, source = Store(tmp_path / "store"), tmp_path / "source"
    source.write_bytes(b"pixels")
    first = store.put_bytes(b"pixels", ".png")
    inode = store.path_of(first).stat().st_ino
    assert store.put_bytes(b"pixels", ".png") == first
    assert store.put_file(source, ".png") == first
    assert store.path_of(first).stat().st_ino == inode  # not even written again
    assert len(names_below(tmp_path / "store")) == 1
    assert store.put_bytes(b"other", ".png") != first
    assert len(names_below(tmp_path / "store")) == 2


def test_a_cut_off_object_is_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    stored = store.put_bytes(b"pixels", ".png")
    store.path_of(stored).write_bytes(b"pix")
    store.put_bytes(b"pixels", ".png")
    assert store.path_of(stored).read_bytes() == b"pixels"


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
    assert str(tmp_path) not in _record_file(Store(tmp_path / "old")).read_text()
    (tmp_path / "old").rename(tmp_path / "new")
    assert Store(tmp_path / "new").read_record(KIND, PRINT) == record


def _replace(old: str, new: str) -> Callable[[Path], object]:
    def change(file: Path) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def _write(content: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(content)


def _make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        _write(b""),
        _write(b"{"),
        _write(b"null"),
        _write(b"[]"),
        _write(b"\xff\xfe\x00not utf-8"),
        _write(b"\x00" * 400),
        lambda file: file.write_bytes(file.read_bytes()[:-40]),
        _replace('"data_version"', '"data_versoin"'),
        _replace(PRINT, fingerprint({"a": 2})),
        _replace(".png", "/../../../../sq.yaml"),
        _make_folder,
    ],
    ids="gone empty cut null list binary zeros tail field other-fingerprint way-out folder".split(),
)
def test_a_damaged_record_is_none(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    store = Store(tmp_path)
    _keep(store)
    damage(_record_file(store))
    assert store.read_record(KIND, PRINT) is None


@pytest.mark.parametrize("content", [None, b"", b"pixel"])
def test_a_record_whose_object_is_gone_or_cut_is_none_until_it_is_made_again(
    tmp_path: Path, content: bytes | None
) -> None:
    store = Store(tmp_path)
    path = store.path_of(_keep(store).objects["picture"])
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert store.read_record(KIND, PRINT) is None
    assert store.describe_missing(KIND, PRINT) == "its file is gone from the store"
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


def test_current_remembers_fingerprint_and_inputs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read_current(ASSET) is None
    store.write_current(ASSET, PRINT, {"prompt": "a café"})
    assert store.read_current(ASSET) == (PRINT, {"prompt": "a café"})
    store.write_current(ASSET, fingerprint({"a": 2}), {"prompt": "a bank"})
    assert store.read_current(ASSET) == (fingerprint({"a": 2}), {"prompt": "a bank"})
    assert store.read_current("western/worlds/mccoy/poi_images/bank") is None


def test_current_is_written_only_when_it_changed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_current(ASSET, PRINT, {})
    (name,) = names_below(tmp_path)
    inode = (tmp_path / name).stat().st_ino
    store.write_current(ASSET, PRINT, {})
    assert (tmp_path / name).stat().st_ino == inode


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b"{}", json.dumps({"fingerprint": PRINT}).encode(), b"\xff", b'"text"']
)
def test_a_damaged_current_is_none_and_mended_by_the_next_write(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    store.write_current(ASSET, PRINT, {"a": 1})
    (name,) = names_below(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert store.read_current(ASSET) is None
    store.write_current(ASSET, PRINT, {"a": 1})
    assert store.read_current(ASSET) == (PRINT, {"a": 1})


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
    assert "demo" in fault.mend


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
