"""What an adapter file is: the report of `adapter inspect` and its plain values. Not here: making it, printing it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, sqrt
from typing import Any

from sq_pipeline.adapters.inspect.flux_fit import FluxFit
from sq_pipeline.adapters.inspect.loader_verdicts import Verdict


@dataclass(frozen=True)
class ModuleRow:
    """One module or part. `name` is the file's, `slot` FLUX.1's.

    `alpha_source`: `tensor`, `metadata`, another place that says it, or empty. `update_norm`: Frobenius norm of scale ·
    up @ down, None where it cannot be computed; `effective_rank`: of its spectrum, None where it was not asked for.
    """

    name: str
    slot: str
    rank: int
    alpha: float | None
    alpha_source: str
    scale: float
    dtype: str
    update_norm: float | None
    effective_rank: float | None


@dataclass(frozen=True)
class AdapterReport:
    """All of it. `modules` counts them by the file's names, parts apart; `rows` are those whose matrices fit.

    `faults`: a line each, and every fault of a kind in one line where there are many. `remarks`: what is to be known of
    it, and is no fault: its strength, and what a loader that applies the rest leaves out.
    """

    file: str
    file_bytes: int
    dialect: str
    tensors: int
    modules: int
    fit: FluxFit
    dtypes: Mapping[str, int]
    metadata: Mapping[str, str]
    rows: tuple[ModuleRow, ...]
    loads_in: tuple[Verdict, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    method: str = "LoRA"

    @property
    def update_norm(self) -> float:
        """Norm of all updates together."""
        return sqrt(sum(row.update_norm**2 for row in self.rows if row.update_norm is not None))

    @property
    def ranks(self) -> dict[int, int]:
        """Ranks and how many modules have each, in order."""
        return dict(sorted(Counter(row.rank for row in self.rows).items()))

    @property
    def scales(self) -> dict[float, int]:
        """Effective scales and how many modules have each, in order."""
        return dict(sorted(Counter(row.scale for row in self.rows if isfinite(row.scale)).items()))

    @property
    def alphas(self) -> list[float]:
        """The alphas that the file names."""
        return sorted({row.alpha for row in self.rows if row.alpha is not None and isfinite(row.alpha)})

    def as_json(self) -> dict[str, Any]:
        """The report as plain values, without NaN or infinity."""
        return {
            "file": self.file,
            "bytes": self.file_bytes,
            "dialect": self.dialect,
            "method": self.method,
            "base_models": list(self.fit.base_models),
            "hidden_size": self.fit.hidden_size,
            "tensors": self.tensors,
            "modules": self.modules,
            "coverage": {"covered": self.fit.covered, "of": self.fit.modules, "missing": list(self.fit.missing)},
            "ranks": {str(rank): count for rank, count in self.ranks.items()},
            "alphas": self.alphas,
            "scales": {f"{scale:g}": count for scale, count in self.scales.items()},
            "dtypes": dict(self.dtypes),
            "metadata": dict(self.metadata),
            "update_norm": self.update_norm,
            "loads_in": [verdict.as_json() for verdict in self.loads_in],
            "rows": [
                {
                    name: None if isinstance(value, float) and not isfinite(value) else value
                    for name, value in row.items()
                }
                for row in map(asdict, self.rows)
            ],
            "faults": list(self.faults),
            "remarks": list(self.remarks),
        }
