"""MLX's compiled CPU kernels: a folder for each process, whole ones shared, damaged ones removed. With the real MLX."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="MLX compiles with the system's compiler on Linux alone"
)

# a function that MLX fuses into a kernel of its own; the first argument says whether a folder of our own is taken
COMPUTE = """
import sys
import sq_pipeline.engines
from sq_pipeline.engines.kernel_folder import take_kernel_folder
if sys.argv[1] == "own":
    print(take_kernel_folder())
import mlx.core as mx
x = mx.arange(8, dtype=mx.float32)
print(mx.compile(lambda a: mx.tanh(a * 3 + 1) - mx.exp(-a))(x).sum().item())
"""
HOLD = """
import sys
from sq_pipeline.engines.kernel_folder import take_kernel_folder
print(take_kernel_folder(), flush=True)
sys.stdin.read()
"""


def environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("TMPDIR", "SQ_TMPDIR")}
    (root / "tmp").mkdir(exist_ok=True)
    return {**kept, "XDG_CACHE_HOME": str(root / "cache"), "TMPDIR": str(root / "tmp")}


def compute(root: Path, folder: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMPUTE, folder]
    return subprocess.run(command, env=environment(root), capture_output=True, text=True, timeout=300)


def kernels(root: Path) -> list[Path]:
    return sorted(root.rglob("mlx/*/cpu/*.so"))


def cut(path: Path) -> None:
    """As a compiler leaves it that is killed, or has not come to the end."""
    path.write_bytes(path.read_bytes()[:1000])


def test_half_a_kernel_is_compiled_again(tmp_path: Path) -> None:
    first = compute(tmp_path, "own")
    assert first.returncode == 0, first.stderr
    made = kernels(tmp_path / "cache")
    assert made
    assert not kernels(tmp_path / "tmp")
    for path in made:
        cut(path)
    second = compute(tmp_path, "own")
    assert second.stdout == first.stdout, second.stderr


def test_without_a_folder_of_ours_half_a_kernel_fails_for_ever(tmp_path: Path) -> None:
    """What the folder is for; when MLX mends this, the module can go."""
    assert compute(tmp_path, "shared").returncode == 0
    made = kernels(tmp_path / "tmp")
    assert made
    for path in made:
        cut(path)
    done = compute(tmp_path, "shared")
    assert done.returncode == -signal.SIGBUS or "Could not load C++ shared library" in done.stderr


def test_each_process_has_its_own_and_gets_what_others_finished(tmp_path: Path) -> None:
    held = compute(tmp_path, "own").stdout.splitlines()[0]
    (finished, *_) = kernels(Path(held))
    old = time.time() - 60
    half, young = finished.with_name("half.so"), finished.with_name("young.so")
    half.write_bytes(finished.read_bytes()[:1000])
    young.write_bytes(finished.read_bytes())
    for path in (finished, half):
        os.utime(path, (old, old))
    command = [sys.executable, "-c", HOLD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment(tmp_path)}
    with subprocess.Popen(command, **pipes) as one:  # type: ignore[call-overload]
        assert one.stdout
        assert one.stdout.readline().strip() == held  # free again since the first process ended
        assert not half.exists()
        half.write_bytes(finished.read_bytes()[:1000])
        os.utime(half, (old, old))
        with subprocess.Popen(command, **pipes) as other:  # type: ignore[call-overload]
            assert other.stdout
            folder = Path(other.stdout.readline().strip())
            assert folder != Path(held)
            wanted = {finished.name, "half.so", "young.so"}
            linked = {path.name for path in folder.rglob("*")} & wanted
            other.communicate("")
        one.communicate("")
    assert linked == {finished.name}


def test_temporary_files_stay_where_they_were(tmp_path: Path) -> None:
    script = (
        "import tempfile; from sq_pipeline.engines.kernel_folder import take_kernel_folder as take\n"
        "folder = take(); import os, subprocess, sys\n"
        "print(tempfile.gettempdir(), os.environ['TMPDIR'] == str(folder))\n"
        "child = 'import tempfile; from sq_pipeline.engines.kernel_folder import take_kernel_folder as t\\n'\n"
        "child += 'print(t() != \"' + str(folder) + '\", tempfile.gettempdir())'\n"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True, check=True).stdout)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == [str(tmp_path / "tmp"), "True", "True", str(tmp_path / "tmp")], done.stderr


def test_no_cache_that_can_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    done = compute(tmp_path, "own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "None"
