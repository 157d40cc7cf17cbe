"""OpenBLAS under the names that MLX asks for: on the real library, by the real dynamic linker."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline.engines import blas
from sq_pipeline.engines.plain_symbols import without_prefix

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX brings its own BLAS")

# what MLX's CPU build asks its BLAS and LAPACK for
ASKED = """cblas_cgemm cblas_dgemm cblas_sgemm cgeev_ cgesdd_ cheevd_ dgeev_ dgeqrf_ dgesdd_ dgetrf_ dgetri_ dorgqr_
dpotrf_ dsyevd_ dtrtri_ sgeev_ sgeqrf_ sgesdd_ sgetrf_ sgetri_ sorgqr_ spotrf_ ssyevd_ strtri_""".split()


@pytest.fixture(scope="module")
def library() -> bytes:
    path = blas._library()
    assert path is not None
    return path.read_bytes()


def test_all_that_mlx_asks_for_is_found_and_the_prefix_is_gone(library: bytes, tmp_path: Path) -> None:
    plain, prefixed = tmp_path / "plain.so", tmp_path / "prefixed.so"
    plain.write_bytes(without_prefix(library, "scipy_"))
    prefixed.write_bytes(library)
    loaded, original = ctypes.CDLL(str(plain)), ctypes.CDLL(str(prefixed))
    assert [name for name in ASKED if not hasattr(loaded, name)] == []
    assert [name for name in ASKED if hasattr(original, name)] == []
    assert not hasattr(loaded, "scipy_cblas_sgemm")
    assert not hasattr(loaded, "no_such_name")


def test_it_multiplies(library: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plain.so"
    path.write_bytes(without_prefix(library, "scipy_"))
    loaded, three = ctypes.CDLL(str(path)), (ctypes.c_float * 1)(3)
    answer = (ctypes.c_float * 1)(0)
    row_major, plain, one = 101, 111, ctypes.c_float(1)
    loaded.cblas_sgemm(row_major, plain, plain, 1, 1, 1, one, three, 1, three, 1, ctypes.c_float(0), answer, 1)
    assert answer[0] == 9


def test_kernels_are_chosen_by_the_processor_it_runs_on() -> None:
    """A build for one processor is an illegal instruction on another."""
    assert blas._openblas is not None
    blas._openblas.openblas_get_config.restype = ctypes.c_char_p
    assert b"DYNAMIC_ARCH" in blas._openblas.openblas_get_config()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda content: b"", "no ELF file"),
        (lambda content: b"MZ" + content[2:], "no ELF file"),
        (lambda content: content[:4] + b"\x01" + content[5:], "no ELF file"),  # 32 bits
        (lambda content: content[:5] + b"\x02" + content[6:], "no ELF file"),  # the other byte order
        (lambda content: content[:100_000], "not where they were expected"),
        (lambda content: content[:0x28] + bytes(8) + content[0x30:], "not where they were expected"),
    ],
)  # fmt: skip
def test_another_file_is_refused(library: bytes, spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OSError, match=told):
        without_prefix(spoil(library), "scipy_")


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    code = (
        "from sq_pipeline.engines import blas; import mlx.core as mx\n"
        "mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64))); print(blas.preload().name)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "OpenBLAS", done.stderr


def test_the_copy_is_made_once(tmp_path: Path) -> None:
    code = "from sq_pipeline.engines import blas; print(blas.preload().name)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    stamps = set[int]()
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
        (kept,) = (tmp_path / "sq-pipeline" / "openblas").iterdir()
        stamps.add(kept.stat().st_mtime_ns)
    assert len(stamps) == 1


def test_another_revision_makes_another_copy(tmp_path: Path) -> None:
    """What an older version of this package kept is not loaded by a newer one that makes it otherwise."""
    code = (
        "from sq_pipeline.engines import blas; first = blas.REVISION\n"
        "blas.REVISION, blas._report = first + 1, None; print(first, blas.preload().name)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    first, name = done.stdout.split()
    assert name == "OpenBLAS"
    kept = sorted(path.name.split("-")[1] for path in (tmp_path / "sq-pipeline" / "openblas").iterdir())
    assert kept == [f"r{first}", f"r{int(first) + 1}"]
