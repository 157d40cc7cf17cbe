"""A folder of its own for the CPU kernels that MLX compiles, on Linux: no two processes share one at the same time.

MLX has the C++ compiler write a kernel to `$TMPDIR/mlx/<version>/cpu`, and any process loads what is there. So
one may load what another is still writing ("file too short", a bus error), and a compiler that was killed leaves half
a kernel that fails for ever. Here: a numbered folder in the user's cache, held while the process lives; what others
finished is linked in, what is damaged is removed. Not here: anything of the kernels themselves.
"""

import os
import struct
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sq_pipeline.engines.user_folders import cache_folder

_MOST_FOLDERS = 256
_YOUNG_S = 10  # a kernel of another process that is younger may still be written
_ORIGINAL = "SQ_TMPDIR"  # what TMPDIR was before: children keep their own temporary files there
_HEADER_BYTES = 64  # of an ELF file of 64 bits

_held: FileLock | None = None


def take_kernel_folder() -> Path | None:
    """Let MLX compile in a folder that no other process uses until this one ends; the folder, or None where none is
    needed (macOS) or to be had (no cache that can be written). Call it before the first computation; again is free.
    """
    global _held
    if sys.platform != "linux":
        return None
    if _held is not None:
        return Path(_held.lock_file).parent
    temporary = os.environ.get(_ORIGINAL) or tempfile.gettempdir()
    try:
        root = cache_folder() / "mlx-kernels"
        lock = _first_free(root)
        folder = Path(lock.lock_file).parent
        _tidy(folder, root)
    except (OSError, RuntimeError):  # no cache that can be written, or no home folder
        return None  # MLX then shares its folder, as it does without us
    _held = lock
    tempfile.tempdir = os.environ[_ORIGINAL] = temporary
    os.environ["TMPDIR"] = str(folder)  # read by MLX whenever it compiles
    return folder


def _first_free(root: Path) -> FileLock:
    """The lock of the first folder that nobody holds; raises OSError where there is none."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(_MOST_FOLDERS):
        (root / str(number)).mkdir(exist_ok=True)
        lock = FileLock(root / str(number) / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        return lock
    raise OSError(f"all {_MOST_FOLDERS} folders of {root} are in use")


def _tidy(folder: Path, root: Path) -> None:
    """Remove kernels that were not written to their end, and link those that other processes finished."""
    for kernel in folder.glob("mlx/*/cpu/*.so"):
        if not _is_whole(kernel):
            kernel.unlink(missing_ok=True)
    for kernel in root.glob("[0-9]*/mlx/*/cpu/*.so"):
        target = folder.joinpath(*kernel.relative_to(root).parts[1:])
        if target.exists() or not _is_old(kernel) or not _is_whole(kernel):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # another process may just have removed it; it is compiled where it is missing
            os.link(kernel, target)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _YOUNG_S
    except OSError:
        return False


def _is_whole(path: Path) -> bool:
    """True for an ELF file that reaches to the end of its section headers, which the linker writes last.

    Format: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
    """
    try:
        with path.open("rb") as file:
            header, size = file.read(_HEADER_BYTES), path.stat().st_size
    except OSError:
        return False
    if len(header) < _HEADER_BYTES or not header.startswith(b"\x7fELF"):
        return False
    (offset,), (entry_size, entries) = struct.unpack_from("<Q", header, 0x28), struct.unpack_from("<HH", header, 0x3A)
    return offset > 0 and offset + entry_size * entries <= size
