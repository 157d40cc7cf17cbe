"""What an adapter file is: dialect, modules, ranks, strength. Reads any file, loads no model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.core.dialects import name_dialect, parse_key
from sq_pipeline.storage.safetensors_file import SafetensorsFile, is_finite, open_safetensors, to_float32

_FLOATS = {"F64", "F32", "F16", "BF16"}


@dataclass(frozen=True)
class ModuleReport:
    """One module: its rank, alpha (None where the file has none), and the Frobenius norm of alpha/rank · B·A."""

    module: str
    rank: int
    alpha: float | None
    update_norm: float


def inspect_adapter(path: Path) -> dict[str, Any]:
    """The report as plain values; raises AdapterError when the file cannot be read.

    `faults` lists what is wrong with it, one line each: unmatched or repeated names, halves without partner, matrices
    that do not fit, NaN, updates of zero.
    """
    file = open_safetensors(path)
    dialect = name_dialect(file.tensors)
    keys = {name: parse_key(name) for name in file.tensors}
    faults = [f"{name}: not the name of an adapter's tensor" for name, key in keys.items() if key is None]
    faults += [f"{n}: holds NaN or infinity" for n, info in file.tensors.items() if not is_finite(info, file.read(n))]
    modules: dict[str, dict[str, str]] = {}
    for name, key in keys.items():
        if key is None:
            continue
        parts = modules.setdefault(key.module, {})
        if key.matrix in parts:
            faults.append(f"{name}: says the same as {parts[key.matrix]}")
        parts.setdefault(key.matrix, name)
    reports: list[ModuleReport] = []
    for module, parts in sorted(modules.items()):
        if missing := [part for part in ("down", "up") if part not in parts]:
            faults.append(f"{module}: its {' and '.join(missing)} matrix is missing")
            continue
        key = keys[parts["down"]]
        report = _report_module(file, module, parts, is_mlx=key is not None and key.is_mlx)
        if isinstance(report, str):
            faults.append(f"{module}: {report}")
            continue
        reports.append(report)
        if report.update_norm == 0:
            faults.append(f"{module}: its update is zero; it changes nothing")
    ranks = Counter(report.rank for report in reports)
    norms = [report.update_norm for report in reports if isfinite(report.update_norm)]
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "dialect": dialect,
        "tensors": len(file.tensors),
        "modules": len(modules),
        "ranks": {str(rank): count for rank, count in sorted(ranks.items())},
        "alphas": sorted({report.alpha for report in reports if report.alpha is not None and isfinite(report.alpha)}),
        "dtypes": dict(Counter(info.dtype for info in file.tensors.values())),
        "metadata": dict(file.metadata),
        "update_norm": float(np.sqrt(np.square(norms).sum())) if norms else 0.0,
        "faults": faults,
    }


def _report_module(file: SafetensorsFile, module: str, parts: Mapping[str, str], *, is_mlx: bool) -> ModuleReport | str:
    """The report on one module, or why there is none. MLX keeps its matrices transposed."""
    infos = {part: file.tensors[name] for part, name in parts.items()}
    if wrong := [f"{info.name} is {info.dtype}" for info in infos.values() if info.dtype not in _FLOATS]:
        return f"{' and '.join(wrong)}, not a floating-point number"
    down, up = (_numbers(file, parts[part]) for part in ("down", "up"))
    if is_mlx:
        down, up = down.T, up.T
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or 0 in down.shape + up.shape:
        return f"misshapen: down is {list(infos['down'].shape)}, up {list(infos['up'].shape)}"
    rank = down.shape[0]
    alpha = None
    if "alpha" in parts:
        values = _numbers(file, parts["alpha"])
        if values.size != 1:
            return f"misshapen: its alpha is {list(values.shape)}, not one number"
        alpha = float(values.item())
    # ‖B·A‖² = trace((BᵀB)(AAᵀ)): two rank × rank products in place of an outputs × inputs one
    with np.errstate(all="ignore"):
        square = float(np.sum((up.T @ up) * (down @ down.T).T))
    scale = 1.0 if alpha is None else abs(alpha) / rank
    return ModuleReport(module, rank, alpha, scale * float(np.sqrt(max(square, 0.0))))


def _numbers(file: SafetensorsFile, name: str) -> npt.NDArray[np.float64]:
    # float64, because the squares of small weights vanish in float32, and the update would look like zero
    return to_float32(file.tensors[name], file.read(name)).astype(np.float64)
