"""The adapter tools measured against `cp`: `python -m sq_pipeline_tests.benchmarks.adapters`.

Whole processes, as a person starts them, in interleaved rounds of one run; the spread is printed beside the median.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.cli.printing import print_table, say

_COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))
_ROUNDS = 9
Row = tuple[str, str, str]


def write_adapter(path: Path, rank: int, blocks: int | None = None) -> Path:
    """An adapter in mlx-examples' layout at flux1-dev's widths, F32: 608 tensors, or those of the first blocks."""
    random = np.random.default_rng(0)
    layout: list[TensorInfo] = []
    for module, inputs, outputs in modules_of(FLUX1_MODELS["flux1-dev"]):
        if blocks is None or int(module.split(".")[1]) < blocks:
            layout += [TensorInfo(f"{module}.lora_a", "F32", (inputs, rank))]
            layout += [TensorInfo(f"{module}.lora_b", "F32", (rank, outputs))]

    def tensors() -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
        for info in layout:
            yield info, random.standard_normal(info.shape, dtype=np.float32).view(np.uint32)

    write_safetensors(path, tensors(), layout, {"lora_rank": str(rank), "lora_blocks": "-1"})
    return path


# a new process counts as much memory as the one that starts it, until it has more: so a small one starts it
_SMALL_PARENT = """
import json, os, sys, time
start = time.perf_counter()
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, usage = os.wait4(child, 0)
print(json.dumps([status, time.perf_counter() - start, usage.ru_maxrss]))
"""


def run(*command: str | Path) -> tuple[float, int]:
    """Wall time in seconds and peak memory in bytes of one process."""
    words = list(map(str, command))
    said = subprocess.run([sys.executable, "-c", _SMALL_PARENT, *words], stdout=subprocess.PIPE, check=True).stdout
    status, wall_s, peak = json.loads(said)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return wall_s, peak * (1 if sys.platform == "darwin" else 1024)


def _spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def measure_remap(folder: Path, source: Path, one_block: Path, bare_bytes: int) -> list[Row]:
    """`adapter remap` to each target against `cp` of the same file; start-up is the remap of one small file."""
    out = folder / "out.safetensors"
    rows: list[Row] = []
    for target in ("mflux", "kohya", "diffusers", "mlx"):
        say(f"remap to {target} …")
        copies: list[float] = []
        ratios: list[float] = []
        peaks: list[int] = []
        for _ in range(_ROUNDS):
            copy_s, _ = run("cp", source, out)
            start_s, _ = run(_COMMAND, "adapter", "remap", one_block, out, "--target", target)
            wall_s, peak_bytes = run(_COMMAND, "adapter", "remap", source, out, "--target", target)
            copies.append(copy_s)
            ratios.append((wall_s - start_s) / copy_s)
            peaks.append(peak_bytes - bare_bytes)
        rows.append((f"remap to {target}, over start-up", f"{_spread(ratios)} × cp ({_spread(copies)} s)", "≤ 3 × cp"))
        rows.append((f"remap to {target}, memory", f"{max(peaks) / 1e6:.0f} MB over Python", "≤ 150 MB"))
    return rows


def measure_inspect(source: Path, bare_bytes: int) -> list[Row]:
    """`adapter inspect`, whole process, with and without the spectrum."""
    rows: list[Row] = []
    for words, wanted in (((), "≤ 0.5 s"), (("--spectrum",), "")):
        say(f"inspect {' '.join(words)} …")
        made = [run(_COMMAND, "adapter", "inspect", source, *words) for _ in range(_ROUNDS)]
        peak_bytes = max(peak for _, peak in made) - bare_bytes
        figure = f"{_spread([wall for wall, _ in made])} s, {peak_bytes / 1e6:.0f} MB over Python"
        rows.append((f"inspect {' '.join(words)}".strip(), figure, wanted))
    return rows


def measure_growth(folder: Path, source: Path, large: Path) -> list[Row]:
    """Peak memory with ten times the file (rank 80), against the file itself."""
    rows: list[Row] = []
    for name, arguments in (
        ("remap", (_COMMAND, "adapter", "remap", "FILE", folder / "out.safetensors", "--target", "mflux")),
        ("inspect", (_COMMAND, "adapter", "inspect", "FILE")),
    ):
        say(f"{name} of ten times the file …")
        peaks = [
            run(*(path if argument == "FILE" else argument for argument in arguments))[1] for path in (source, large)
        ]
        figure = f"{peaks[1] / 1e6:.0f} MB against {peaks[0] / 1e6:.0f} MB"
        rows.append((f"{name}, {large.stat().st_size / 1e9:.1f} GB instead of 0.15", figure, "does not grow"))
    return rows


def measure_fidelity(folder: Path, source: Path, bare_bytes: int) -> list[Row]:
    """`adapter fidelity` over all 494 layers of flux1-dev, as the gate asks before any picture."""
    say("fidelity at flux1-dev's widths …")
    out = folder / "out.safetensors"
    run(_COMMAND, "adapter", "remap", source, out, "--target", "mflux")
    wall_s, peak_bytes = run(
        _COMMAND, "adapter", "fidelity", out, "--source", source, "--base-model", "flux1-dev", "--json"
    )
    return [("fidelity", f"{wall_s:.0f} s, {(peak_bytes - bare_bytes) / 1e6:.0f} MB over Python", "≤ 2 GB")]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("SQ_BENCHMARK_DIR")) as name:
        folder = Path(name)
        source = write_adapter(folder / "rank8.safetensors", 8)
        one_block = write_adapter(folder / "one.safetensors", 1, blocks=1)
        large = write_adapter(folder / "rank80.safetensors", 80)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a person's Python compiles a module once
        run(_COMMAND, "adapter", "inspect", one_block)
        bare_bytes = min(run(sys.executable, "-c", "pass")[1] for _ in range(3))
        rows = [
            *measure_remap(folder, source, one_block, bare_bytes),
            *measure_inspect(source, bare_bytes),
            *measure_growth(folder, source, large),
            *measure_fidelity(folder, source, bare_bytes),
        ]
    print_table(("adapter tools", f"{source.name}: 608 tensors, F32, 153 MB", "wanted"), rows)


if __name__ == "__main__":
    main()
