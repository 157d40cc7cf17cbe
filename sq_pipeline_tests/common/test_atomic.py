"""Nothing half-written: what is left on the disk when a block fails, is interrupted, or the disk refuses."""

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common.atomic import atomic_path, copy_file, disk_error, write_bytes, write_text
from sq_pipeline.common.errors import StorageError
from sq_pipeline.pipeline.store import Store
from sq_pipeline_tests.builders import faults_of, names_below


def test_the_file_is_there_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    final = tmp_path / "deep" / "er" / "picture.png"
    with atomic_path(final) as part:
        part.write_bytes(b"half")
        assert not final.exists()
        assert part.parent == final.parent
        assert part.name.startswith(".")
        assert part.name.endswith(".part.png")
        part.write_bytes(b"whole")
    assert final.read_bytes() == b"whole"
    assert names_below(tmp_path) == ["deep/er/picture.png"]
    assert final.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["x", ".hidden", "a.b.c", "ü.txt", "n" * 250 + ".json", "ö" * 120 + ".png"])
def test_any_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "Öl")
    assert names_below(tmp_path) == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "Öl"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    write_text(final, "a long first text")
    write_text(final, "short")
    assert final.read_text() == "short"


def test_copying_leaves_the_source(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\x00\xff")
    copy_file(tmp_path / "source", tmp_path / "to" / "target")
    assert (tmp_path / "to" / "target").read_bytes() == (tmp_path / "source").read_bytes() == b"\x00\xff"


class _Bug(Exception):
    pass


def _fail_halfway(final: Path, error: BaseException) -> None:
    with atomic_path(final) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("has_old", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        _Bug("x"),
        KeyboardInterrupt(),
        SystemExit(3),
        FileNotFoundError(errno.ENOENT, "no such file", "elsewhere"),
        # about another file: not ours to explain
        PermissionError(errno.EACCES, "Permission denied", "elsewhere"),
        OSError(errno.ENOSPC, "No space left on device", "elsewhere"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_in_the_block_passes_through_and_leaves_no_trace(
    tmp_path: Path, error: BaseException, has_old: bool
) -> None:
    final = tmp_path / "a.txt"
    if has_old:
        final.write_text("old")
    with pytest.raises(type(error)) as caught:
        _fail_halfway(final, error)
    assert caught.value is error
    assert names_below(tmp_path) == (["a.txt"] if has_old else [])
    if has_old:
        assert final.read_text() == "old"


def test_a_storage_error_of_a_block_within_is_not_wrapped(tmp_path: Path) -> None:
    inner = disk_error(tmp_path / "inner", OSError(errno.ENOSPC, "full"))
    with pytest.raises(StorageError) as caught, atomic_path(tmp_path / "outer"):
        raise inner
    assert caught.value is inner
    assert names_below(tmp_path) == []


DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full",
    errno.EROFS: "cannot be written (Read-only file system)",
    errno.EACCES: "cannot be written (Permission denied)",
    errno.EFBIG: "cannot be written (File too large)",
    errno.EIO: "cannot be written (Input/output error)",
}
CODES = pytest.mark.parametrize("code", DISK_ERRORS, ids=lambda code: errno.errorcode[code])


def _raise(code: int, at: Path | None = None) -> Callable[..., None]:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code), *([str(at)] if at else []))

    return fail


def _check_refusal(final: Path, code: int, action: Callable[[], object]) -> None:
    (fault,) = faults_of(action, StorageError)
    assert fault.file == str(final)
    assert fault.problem == DISK_ERRORS[code]
    assert fault.hint
    assert "\n" not in str(fault)
    assert names_below(final.parent) == []


@CODES
def test_a_disk_that_refuses_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(Path, "write_bytes", _raise(code))
    _check_refusal(tmp_path / "a.txt", code, lambda: write_text(tmp_path / "a.txt", "x"))


@CODES
def test_a_disk_that_refuses_when_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(os, "fsync", _raise(code))
    _check_refusal(tmp_path / "a.txt", code, lambda: write_text(tmp_path / "a.txt", "x"))


@CODES
def test_a_disk_that_refuses_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr("tempfile.mkstemp", _raise(code, tmp_path))
    _check_refusal(tmp_path / "a.txt", code, lambda: write_text(tmp_path / "a.txt", "x"))


@CODES
def test_a_disk_that_refuses_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(Path, "replace", _raise(code))
    _check_refusal(tmp_path / "a.txt", code, lambda: write_text(tmp_path / "a.txt", "x"))


@CODES
def test_a_disk_that_refuses_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")

    def fail(source: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code), str(source), None, str(target))  # as shutil's fast copy names both

    monkeypatch.setattr("shutil.copyfile", fail)
    _check_refusal(tmp_path / "to" / "a", code, lambda: copy_file(source, tmp_path / "to" / "a"))


def test_a_copy_of_what_is_not_there_is_not_the_disk_s_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "none", tmp_path / "a")
    assert names_below(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "content").write_text("a file")
    (fault,) = faults_of(lambda: write_text(tmp_path / "content" / "a" / "b.txt", "x"), StorageError)
    assert fault.file == str(tmp_path / "content" / "a" / "b.txt")
    assert names_below(tmp_path) == ["content"]


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    (fault,) = faults_of(lambda: write_text(tmp_path / "a.txt", "x"), StorageError)
    assert fault.file == str(tmp_path / "a.txt")
    assert names_below(tmp_path) == []


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    faults_of(lambda: write_text(tmp_path / ("n" * 300), "x"), StorageError)
    assert names_below(tmp_path) == []


def test_the_error_survives_a_process_border() -> None:
    error = disk_error(Path("a"), OSError(errno.ENOSPC, "full"))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is StorageError
    assert copy.faults == error.faults


# A limit on the size of a file is the nearest to a full disk that needs no mount: the kernel itself refuses the bytes.
_LIMITED = """
import resource, sys
from pathlib import Path
from sq_pipeline.common.errors import StorageError
from sq_pipeline.common import atomic
from sq_pipeline.pipeline import store
root = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
big, source = b"x" * 100_000, root / "source"
for action in (
    lambda: atomic.write_bytes(root / "out" / "a.bin", big),
    lambda: atomic.copy_file(source, root / "out" / "b.bin"),
    lambda: store.Store(root / "store").put_bytes(big, ".png"),
    lambda: store.Store(root / "store").put_file(source, ".png"),
):
    try:
        action()
    except StorageError as error:
        print(error)
"""


def test_a_disk_that_really_refuses(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"y" * 100_000)
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 4, result.stdout + result.stderr
    assert all("cannot be written (File too large)" in line for line in lines)
    assert names_below(tmp_path) == ["source"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_device_that_is_really_full(tmp_path: Path) -> None:
    def write_to_full_device() -> None:
        with atomic_path(tmp_path / "a.txt"), Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    (fault,) = faults_of(write_to_full_device, StorageError)
    assert fault.problem == "the disk is full"
    assert names_below(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "full")], ids=["interrupt", "full"])
def test_the_store_keeps_no_half_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | type[BaseException]
) -> None:
    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise error

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises((KeyboardInterrupt, StorageError)):
            store.put_bytes(b"content", ".bin")
    assert names_below(tmp_path) == []
    assert store.lend(store.put_bytes(b"content", ".bin")).read_bytes() == b"content"


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"\r\n\x00")
    assert (tmp_path / "a").read_bytes() == b"\r\n\x00"
