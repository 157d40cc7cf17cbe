"""OpenBLAS before MLX, on Linux: MLX's CPU wheel ships the reference BLAS, which is some 60 times slower.

Here: finding and loading the library, and measuring what it gives. Not here: anything of MLX's models.
"""

import ctypes
import importlib.util
import os
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.engines import machine
from sq_pipeline.engines.plain_symbols import REVISION, without_prefix
from sq_pipeline.engines.user_folders import cache_folder

_PACKAGE, _LIBRARY, _PREFIX = "scipy_openblas32", "lib/libscipy_openblas.so", "scipy_"
_THREADS, _KERNELS = "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"


@dataclass(frozen=True)
class BlasReport:
    """Which BLAS this process gave MLX. `path` is None where none was loaded; `note` says why or how.

    `mend` is a command that gives a faster one, where there is one.
    """

    name: str
    path: Path | None
    note: str
    mend: str | None = None


_report: BlasReport | None = None
_openblas: ctypes.CDLL | None = None
_is_set_by_person = False


def _library() -> Path | None:
    """SciPy's build of OpenBLAS, where it is installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / _LIBRARY
    return path if path is not None and path.is_file() else None


def _load(library: Path) -> ctypes.CDLL:
    """Load it under the names that MLX asks for, from a copy in the user's cache, made where it is missing.

    One that cannot be kept there is made in a temporary folder for this process alone. Raises OSError.
    """
    facts = library.stat()
    name = f"libopenblas-r{REVISION}-{facts.st_size}-{facts.st_mtime_ns}.so"
    try:
        kept = cache_folder() / "openblas" / name
        if not kept.is_file():
            write_bytes(kept, without_prefix(library.read_bytes(), _PREFIX))
        return ctypes.CDLL(str(kept), mode=ctypes.RTLD_GLOBAL)
    except (OSError, RuntimeError):  # no cache that can be written, or no home folder
        with tempfile.TemporaryDirectory(prefix="sq-pipeline-") as folder:
            copy = Path(folder) / name
            copy.write_bytes(without_prefix(library.read_bytes(), _PREFIX))
            return ctypes.CDLL(str(copy), mode=ctypes.RTLD_GLOBAL)


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
    path = _library()
    if path is None:
        _report = BlasReport("reference", None, "scipy-openblas32 is not installed", _install())
        return _report
    _is_set_by_person = os.environ.get(_THREADS, "").isdecimal()
    try:
        _openblas = _load(path)
    except OSError as error:
        _report = BlasReport("reference", None, f"OpenBLAS did not load: {error}", _install("--reinstall "))
        return _report
    _openblas.openblas_get_corename.restype = ctypes.c_char_p
    kernels = _openblas.openblas_get_corename().decode()
    named = os.environ.get(_KERNELS)
    how = f"as {_KERNELS} says" if named else "as this processor asks for"
    _report = BlasReport(
        "OpenBLAS", path, f"kernels for {kernels}, {how}", f"unset {_KERNELS}" if named else _threads()
    )
    return _report


def _install(how: str = "") -> str:
    return f"uv pip install --python {shlex.quote(sys.executable)} {how}{_PACKAGE.replace('_', '-')}"


def _threads() -> str | None:
    """How a person's own number of threads, where it is less than the cores, is given up."""
    is_fewer = _is_set_by_person and int(os.environ[_THREADS]) < machine.cores()
    return f"unset {_THREADS}" if is_fewer else None


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
