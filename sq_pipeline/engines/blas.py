"""OpenBLAS before MLX, on Linux: MLX's CPU wheel ships the reference BLAS, which is some 60 times slower.

Here: finding and loading the library, and measuring what it gives. Not here: anything of MLX's models.
"""

import ctypes
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.engines import machine

_FORTRAN_SONAME = "libgfortran.so.5"
_THREADS = "OPENBLAS_NUM_THREADS"


@dataclass(frozen=True)
class BlasReport:
    """Which BLAS this process gave MLX. `path` is None where none was loaded; `note` says why or how."""

    name: str
    path: Path | None
    note: str


_report: BlasReport | None = None
_openblas: ctypes.CDLL | None = None
_is_set_by_person = False


def _site_dirs() -> list[Path]:
    return [Path(entry) for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]


def _first_match(pattern: str) -> Path | None:
    return next((hit for site in _site_dirs() for hit in sorted(site.glob(pattern))), None)


def _load_global(path: Path | str) -> ctypes.CDLL:
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _load_borrowed_fortran() -> str:
    """Load the Fortran runtime that MLX's wheel bundles, under the name OpenBLAS asks for.

    The wheel's copy has a mangled SONAME, so the dynamic linker would not take it for
    `libgfortran.so.5`; a throw-away copy with the plain SONAME (shorter, so it fits in place) is loaded.
    """
    bundled = _first_match("mlx_cpu.libs/libgfortran-*.so.*")
    if bundled is None:
        raise OSError("no libgfortran beside MLX's CPU wheel")
    quadmath = _first_match("mlx_cpu.libs/libquadmath-*.so.*")
    if quadmath is not None:
        _load_global(quadmath)
    mangled = bundled.name.encode() + b"\0"
    image = bundled.read_bytes()
    if image.count(mangled) != 1:
        raise OSError(f"{bundled.name}: its SONAME is not where it was expected")
    plain = (_FORTRAN_SONAME.encode() + b"\0").ljust(len(mangled), b"\0")
    with tempfile.TemporaryDirectory(prefix="sq-pipeline-") as folder:
        copy = Path(folder) / _FORTRAN_SONAME
        copy.write_bytes(image.replace(mangled, plain))
        _load_global(copy)
    return bundled.name


def preload() -> BlasReport:
    """Load OpenBLAS into the process's global symbols; MLX then resolves its BLAS calls to it.

    Does nothing off Linux, where MLX brings its own fast path. Must run before `mlx.core` is
    imported. Never raises: without OpenBLAS everything still works, slowly, and `doctor` says so.
    """
    global _report, _openblas, _is_set_by_person
    if _report is not None:
        return _report
    if sys.platform != "linux":
        _report = BlasReport("system", None, "MLX's own (Accelerate and Metal)")
        return _report
    path = _first_match("cmeel.prefix/lib/libopenblas.so*")
    if path is None:
        _report = BlasReport("reference", None, "cmeel-openblas is not installed: `uv sync` brings it")
        return _report
    _is_set_by_person = os.environ.get(_THREADS, "").isdecimal()
    try:
        try:
            _openblas = _load_global(path)
            note = f"Fortran runtime: the system's {_FORTRAN_SONAME}"
        except OSError:
            note = f"Fortran runtime: {_load_borrowed_fortran()} of MLX's wheel"
            _openblas = _load_global(path)
    except OSError as error:
        _report = BlasReport("reference", None, f"OpenBLAS did not load ({error}); install libgfortran5")
        return _report
    _report = BlasReport("OpenBLAS", path, note)
    return _report


def use_threads_for(base_model: BaseModel) -> None:
    """Let OpenBLAS work for this base model in as many threads as pay; bits are the same in any number of them.

    A person's own OPENBLAS_NUM_THREADS holds. Does nothing where OpenBLAS was not loaded.
    """
    if _openblas is not None and not _is_set_by_person:
        _openblas.openblas_set_num_threads(threads_for(base_model))


def threads_for(base_model: BaseModel) -> int | None:
    """How many threads OpenBLAS gets for a base model; None where it was not loaded.

    One for tiny-flux: a second gains 7 % of the demo on a quiet machine, and on a busy one costs five times the time,
    because threads spin while they wait for each other. Every core for wide models.
    """
    if _openblas is None:
        return None
    if _is_set_by_person:
        return _openblas.openblas_get_num_threads()
    return 1 if base_model.files_name == "tiny-flux" else machine.cores()


def measure_gflops(size: int = 1024, seconds: float = 0.5) -> float:
    """Float32 matrix multiplication rate of MLX's default device, in GFLOP/s, best of repeated runs."""
    import mlx.core as mx

    a = mx.random.normal((size, size))
    b = mx.random.normal((size, size))
    mx.eval(a, b)
    best_s = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        mx.eval(a @ b)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * size**3 / best_s / 1e9
