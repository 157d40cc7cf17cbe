"""How much of an adapter's update a loader really applies, layer by layer: the figures.

Wanted is scale · up @ down by the source; applied is what the loader's layer adds, or what a bake changed in a weight.
Not here: measuring (`engines.mflux.fidelity`), judging (`verdicts`).
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sq_pipeline.base_models.base_models import Dtype


@dataclass(frozen=True)
class LayerFidelity:
    """One layer; norms are Frobenius norms of (outputs, inputs) updates.

    `layer` is the loader's name for it. `slot` is the source's, empty where the source adds nothing there.
    `relative_error` is ‖applied − wanted‖ / ‖wanted‖, infinite where something was applied and nothing wanted.
    `share_kept` is ⟨applied, wanted⟩ / ⟨wanted, wanted⟩; `loader_share_kept` the loader's own figure for a bake.
    `problem` says why nothing could be measured.
    """

    layer: str
    slot: str
    norm_wanted: float
    norm_applied: float
    relative_error: float
    share_kept: float
    loader_share_kept: float | None = None
    problem: str = ""

    @property
    def is_missed(self) -> bool:
        """True when something was wanted and nothing applied."""
        return self.norm_wanted != 0 and self.norm_applied == 0

    @property
    def is_extra(self) -> bool:
        """True when nothing was wanted and something applied."""
        return self.norm_wanted == 0 and self.norm_applied != 0

    @property
    def badness(self) -> float:
        """The relative error, infinite where it is no number."""
        return math.inf if math.isnan(self.relative_error) else self.relative_error


def compare(
    layer: str,
    slot: str,
    squares: tuple[float, float, float],
    overlap: float,
    unit: float = 1.0,
    loader_share_kept: float | None = None,
) -> LayerFidelity:
    """The figures of a layer from sums over its update, taken in units of `unit`.

    `squares` are ⟨wanted, wanted⟩, ⟨applied, applied⟩ and ⟨applied − wanted, applied − wanted⟩; `overlap` is
    ⟨applied, wanted⟩. Sums that hold NaN give figures that no threshold lets pass.
    """
    wanted, applied, error = squares
    if wanted == 0:
        relative_error, share_kept = (0.0 if applied == 0 else math.inf), 1.0
    else:
        relative_error, share_kept = math.sqrt(error / wanted), overlap / wanted
    norms = (unit * math.sqrt(wanted), unit * math.sqrt(applied))
    return LayerFidelity(layer, slot, *norms, relative_error, share_kept, loader_share_kept)


def missed(layer: str, slot: str, norm_wanted: float, problem: str = "") -> LayerFidelity:
    """A layer to which nothing was applied."""
    is_wanted = norm_wanted != 0
    return LayerFidelity(layer, slot, norm_wanted, 0.0, float(is_wanted), 1.0 - is_wanted, None, problem)


@dataclass(frozen=True)
class FidelityReport:
    """What one loader applied of one adapter over one base model, in one mode.

    `layers` are all that the source or the loader changes. `dtype` is what the layers compute in, or a baked weight is
    kept in; `bits` where it is quantized. `base_weights`: what was baked into; None where no bake was asked for.
    `unmatched_keys` of the file meant nothing to the loader. `problems`: why it refuses the file as a whole.
    `adapter_dtype`: the coarser of what the file's matrices are stored in, which a loader multiplies a scale into.
    `weights_norm`: the Frobenius norm of the base model's weights in the wanted layers, None where there are none;
    `weights_are_estimated` where they were not read.
    """

    loader: str
    base_model: str
    dtype: Dtype
    is_baked: bool
    bits: int | None
    base_weights: Literal["real", "random"] | None
    layers: tuple[LayerFidelity, ...]
    unmatched_keys: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    adapter_dtype: Dtype = "float32"
    weights_norm: float | None = None
    weights_are_estimated: bool = True

    @property
    def precision(self) -> Dtype:
        """The dtype whose rounding is to be expected: the coarser one of layers and file."""
        return "bfloat16" if "bfloat16" in (self.dtype, self.adapter_dtype) else "float32"

    @property
    def wanted(self) -> tuple[LayerFidelity, ...]:
        """The layers that the source names."""
        return tuple(layer for layer in self.layers if layer.slot)

    @property
    def missed(self) -> tuple[LayerFidelity, ...]:
        """Those that got nothing."""
        return tuple(layer for layer in self.layers if layer.is_missed)

    @property
    def extra(self) -> tuple[LayerFidelity, ...]:
        """Those that got something where nothing is wanted."""
        return tuple(layer for layer in self.layers if layer.is_extra)

    @property
    def layers_share(self) -> float:
        """The share of the wanted layers that were not missed, 0 where none is wanted."""
        return 1 - len(self.missed) / len(self.wanted) if self.wanted else 0.0

    @property
    def worst(self) -> tuple[LayerFidelity, ...]:
        """All layers, the one with the largest error first."""
        return tuple(sorted(self.layers, key=lambda layer: (-layer.badness, layer.share_kept, layer.layer)))

    @property
    def relative_error(self) -> float | None:
        """The largest of a layer, 1 for one that was missed; None where it is not finite, or there is no layer."""
        return _finite(self.worst[0].relative_error) if self.layers else None

    @property
    def share_kept(self) -> float:
        """⟨applied, wanted⟩ / ⟨wanted, wanted⟩ over all layers together, 1 where nothing is wanted."""
        return _mean((layer.share_kept, layer.norm_wanted) for layer in self.layers)

    @property
    def update_share(self) -> float | None:
        """The norm of all that is wanted over `weights_norm`."""
        if not self.weights_norm:
            return None
        return math.hypot(*(layer.norm_wanted for layer in self.wanted)) / self.weights_norm

    @property
    def loader_share_kept(self) -> float | None:
        """The loader's own figure over all layers that it gave one for; None where it gave none."""
        told = [
            (layer.loader_share_kept, layer.norm_wanted) for layer in self.layers if layer.loader_share_kept is not None
        ]
        return _mean(told) if told else None

    @property
    def mode(self) -> str:
        """How the update was applied, in words."""
        if not self.is_baked:
            return f"unbaked{f' over {self.bits}-bit weights' if self.bits else ''}, {self.dtype}"
        quantized = f"{self.bits}-bit weights, {self.dtype}" if self.bits else f"{self.dtype} weights"
        return f"baked into {self.base_weights} {quantized}"

    def as_json(self, most_layers: int | None = None) -> dict[str, Any]:
        """The report as plain values, the worst layers first; what is no finite number is None."""
        return {
            "loader": self.loader,
            "base_model": self.base_model,
            "mode": self.mode,
            "dtype": self.dtype,
            "adapter_dtype": self.adapter_dtype,
            "is_baked": self.is_baked,
            "bits": self.bits,
            "base_weights": self.base_weights,
            "layers_wanted": len(self.wanted),
            "layers_missed": [layer.layer or layer.slot for layer in self.missed],
            "layers_extra": [layer.layer for layer in self.extra],
            "relative_error": self.relative_error,
            "share_kept": _finite(self.share_kept),
            "update_share": _finite(self.update_share),
            "loader_share_kept": _finite(self.loader_share_kept),
            "unmatched_keys": list(self.unmatched_keys),
            "problems": list(self.problems),
            "layers": [
                {name: _finite(value) for name, value in asdict(layer).items()} for layer in self.worst[:most_layers]
            ],
        }


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    """The mean of shares, each weighted by the square of its norm."""
    pairs = list(weighted)
    largest = max((norm for _, norm in pairs), default=0.0)
    if not largest > 0:
        return 1.0
    weights = [(norm / largest) ** 2 for _, norm in pairs]
    return sum(share * weight for (share, _), weight in zip(pairs, weights, strict=True)) / sum(weights)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
