"""What the gate asks of an engine: how much of an adapter a loader really applies, and what it saves of the loss.

Not here: any engine, nor the renderer (`pictures.ports`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sq_pipeline.adapters.form import AdapterUse, UpdateSource
from sq_pipeline.base_models.base_models import BaseModel, Dtype, SizePx
from sq_pipeline.verification.fidelity import FidelityReport


@dataclass(frozen=True)
class FidelityRequest:
    """One adapter file against what it is meant to add. Unbaked, the mode that pictures are rendered in, by default.

    `dtype` None: what the renderer computes in on this machine. `bits`: baked into weights stored at so many bits,
    those of the base model where it is quantized itself.
    """

    base_model: BaseModel
    adapter: AdapterUse
    source: UpdateSource
    is_baked: bool = False
    dtype: Dtype | None = None
    bits: Literal[4, 8] | None = None


class FidelityMeter(Protocol):
    """Measures what one loader really applies of an adapter. Needs no base model's weights, unless it bakes."""

    def measure(self, request: FidelityRequest) -> FidelityReport:
        """Every layer, one after the other; a file that the loader refuses is a report with a problem.

        Raises AdapterError for a file that cannot be read, ValueError for `bits` without a bake, or not the model's.
        """
        ...


@dataclass(frozen=True)
class LossRequest:
    """The loss of a base model on some pictures, without and with adapters, at fixed noise and times.

    Each of `captions` has one text a picture; the pictures are looked at once for each of them, with the same noise and
    times. They are cut to `size` from their middle, `background` (the recipe's) lies under what is transparent.
    `guidance` counts for base models that take one.
    """

    base_model: BaseModel
    pictures: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    adapters: tuple[tuple[UpdateSource, float], ...]
    size: SizePx
    guidance: float
    background: str | None = None


class LossMeter(Protocol):
    """Measures the flow-matching loss, mean((prediction + picture − noise)²), that a training lowers."""

    def measure_losses(self, request: LossRequest) -> Sequence[tuple[float, ...]] | None:
        """For each of the captions the base model's loss, then each adapter's; None for a family without this measure.

        Raises BaseModelError, AdapterError, DatasetError.
        """
        ...
