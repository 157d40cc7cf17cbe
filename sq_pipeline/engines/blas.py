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

_FORTRAN_SONAME = "libgfortran.so.5"


@dataclass(frozen=True)
class BlasReport:
    """Which BLAS this process gave MLX. `path` is None where none was loaded; `note` says why or how."""

    name: str
    path: Path | None
    note: str


_report: BlasReport | None = None


def _site_dirs() -> list[Path]:
    return [Path(entry) for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]


def _first_match(pattern: str) -> Path | None:
    return next((hit for site in _site_dirs() for hit in sorted(site.glob(pattern))), None)


def _load_global(path: Path | str) -> None:
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


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
    global _report
    if _report is not None:
        return _report
    if sys.platform != "linux":
        _report = BlasReport("system", None, "MLX's own (Accelerate and Metal)")
        return _report
    path = _first_match("cmeel.prefix/lib/libopenblas.so*")
    if path is None:
        _report = BlasReport("reference", None, "cmeel-openblas is not installed: `uv sync` brings it")
        return _report
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    try:
        try:
            _load_global(path)
            note = f"Fortran runtime: the system's {_FORTRAN_SONAME}"
        except OSError:
            note = f"Fortran runtime: {_load_borrowed_fortran()} of MLX's wheel"
            _load_global(path)
    except OSError as error:
        _report = BlasReport("reference", None, f"OpenBLAS did not load ({error}); install libgfortran5")
        return _report
    _report = BlasReport("OpenBLAS", path, note)
    return _report


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
