"""What this machine is: chip, memory, engine versions. Cheap: imports neither mlx nor mflux."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path


def chip_name() -> str:
    """The processor's name as its system gives it."""
    if sys.platform == "darwin":
        answer = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "",
    )
    return named or platform.machine()


def memory_bytes() -> int:
    """Physical memory, bytes, or what this process may have of it. Swap does not count."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *cgroup_limits()])


def cgroup_limits(proc: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The limits on memory of the control groups that this process is in, bytes; of version 1 and 2."""
    limits: list[int] = []
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return limits  # not a Linux
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        # a container may show its own group at the top, under another name than its place
        inside = [part for part in place.split("/") if part not in ("", "..")]
        for depth in range(len(inside) + 1):
            try:
                told = root.joinpath(*inside[:depth], name).read_text().strip()
            except OSError:
                continue
            if told.isdecimal():
                limits.append(int(told))
    return limits


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def training_processes() -> int:
    """In how many processes trainings over tiny-flux go on at a time.

    One for a core where MLX computes on the CPU; one where it has a GPU, which they would share.
    """
    return cores() if sys.platform == "linux" and not _has_gpu() else 1


def _has_gpu() -> bool:
    """True where MLX's wheel for CUDA is installed."""
    return any(version_of(name) != "not installed" for name in ("mlx-cuda", "mlx-cuda-12", "mlx-cuda-13"))


def version_of(distribution: str) -> str:
    """The installed version of a distribution, or `not installed`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
