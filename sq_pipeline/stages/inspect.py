"""What an adapter file is: dialect, modules, ranks, strength. Reads any file, loads no model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sq_pipeline.core.dialects import AdapterKey, name_dialect, parse_key
from sq_pipeline.storage.safetensors_file import SafetensorsFile, is_finite, open_safetensors, to_float32


@dataclass(frozen=True)
class ModuleReport:
    """One module: its rank, alpha (None where the file has none), and the Frobenius norm of alpha/rank · B·A."""

    module: str
    rank: int
    alpha: float | None
    update_norm: float


def inspect_adapter(path: Path) -> dict[str, Any]:
    """The report as plain values; raises AdapterError when the file cannot be read.

    `faults` lists what is wrong with it, one line each: unmatched names, halves without partner, NaN, updates of zero.
    """
    file = open_safetensors(path)
    dialect = name_dialect(file.tensors)
    keys = {name: parse_key(name) for name in file.tensors}
    faults = [f"{name}: not the name of an adapter's tensor" for name, key in keys.items() if key is None]
    faults += [f"{n}: holds NaN or infinity" for n, info in file.tensors.items() if not is_finite(info, file.read(n))]
    modules: dict[str, dict[str, str]] = {}
    for name, key in keys.items():
        if key is not None:
            modules.setdefault(key.module, {})[key.matrix] = name
    reports: list[ModuleReport] = []
    for module, parts in sorted(modules.items()):
        if missing := [part for part in ("down", "up") if part not in parts]:
            faults.append(f"{module}: its {' and '.join(missing)} matrix is missing")
            continue
        report = _report_module(file, module, parts, keys[parts["down"]])
        if isinstance(report, str):
            faults.append(f"{module}: {report}")
            continue
        reports.append(report)
        if report.update_norm == 0:
            faults.append(f"{module}: its update is zero; it changes nothing")
    ranks = Counter(report.rank for report in reports)
    norms = [report.update_norm for report in reports if np.isfinite(report.update_norm)]
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "dialect": dialect,
        "tensors": len(file.tensors),
        "modules": len(modules),
        "ranks": {str(rank): count for rank, count in sorted(ranks.items())},
        "alphas": sorted({report.alpha for report in reports if report.alpha is not None}),
        "dtypes": dict(Counter(info.dtype for info in file.tensors.values())),
        "metadata": dict(file.metadata),
        "update_norm": float(np.sqrt(np.square(norms).sum())) if norms else 0.0,
        "faults": faults,
    }


def _report_module(
    file: SafetensorsFile, module: str, parts: Mapping[str, str], key: AdapterKey | None
) -> ModuleReport | str:
    assert key is not None
    down, up = (to_float32(file.tensors[parts[part]], file.read(parts[part])) for part in ("down", "up"))
    if key.is_mlx:
        down, up = down.T, up.T
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        return f"misshapen: down is {list(down.shape)}, up {list(up.shape)}"
    rank = down.shape[0]
    alpha = None
    if "alpha" in parts:
        alpha = float(to_float32(file.tensors[parts["alpha"]], file.read(parts["alpha"])).ravel()[0])
    # ‖B·A‖² = trace((BᵀB)(AAᵀ)): two rank × rank products in place of an outputs × inputs one
    with np.errstate(all="ignore"):
        square = float(np.sum((up.T @ up) * (down @ down.T).T))
    scale = 1.0 if alpha is None else alpha / rank
    return ModuleReport(module, rank, alpha, scale * float(np.sqrt(max(square, 0.0))))
