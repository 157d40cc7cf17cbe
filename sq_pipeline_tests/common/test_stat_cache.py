"""What the cache of file findings hangs on: the stamp of our own code."""

import os
import shutil
from pathlib import Path

import pytest

import sq_pipeline
from sq_pipeline.common.stat_cache import code_stamp, stamp_of

PACKAGE = Path(sq_pipeline.__file__).parent
FOLDERS = sorted({path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")})


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("code") / "sq_pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_the_stamp_is_of_the_whole_package() -> None:
    assert code_stamp() == stamp_of(PACKAGE)
    assert {".", "cli"} < set(FOLDERS)


def test_a_copy_with_its_times_has_the_same_stamp(package: Path) -> None:
    assert stamp_of(package) == code_stamp()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_module_edited_in_any_folder_changes_the_stamp(package: Path, folder: str) -> None:
    path = min((package / folder).glob("*.py"))
    before, stamp, stat = path.read_bytes(), stamp_of(package), path.stat()
    path.write_bytes(before + b"#")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # its size alone tells
    assert stamp_of(package) != stamp
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # its time alone tells
    assert stamp_of(package) != stamp
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stamp_of(package) == stamp


def test_a_module_that_moves_is_added_or_goes_changes_the_stamp(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/one.py").write_text("")
    stamps = [stamp_of(tmp_path)]
    (tmp_path / "a/one.py").rename(tmp_path / "a/b/one.py")  # keeps its time
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "a/b/two.py").write_text("")
    stamps.append(stamp_of(tmp_path))
    (tmp_path / "a/b/one.py").unlink()
    stamps.append(stamp_of(tmp_path))
    assert len(set(stamps)) == 4


def test_a_rule_that_a_family_s_adapters_are_read_by_changes_the_stamp(package: Path) -> None:
    path = package / "adapters/family_keymaps/flux2.yaml"
    before, stamp, stat = path.read_bytes(), stamp_of(package), path.stat()
    path.write_bytes(before + b"#")
    assert stamp_of(package) != stamp
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stamp_of(package) == stamp


def test_what_is_no_module_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("")
    stamp = stamp_of(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/one.cpython-311.pyc").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    assert stamp_of(tmp_path) == stamp
