"""What the gate asks of an engine: how much of an adapter a loader really applies. Not here: any engine."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sq_pipeline.adapters.form import AdapterUse, UpdateSource
from sq_pipeline.base_models.base_models import BaseModel, Dtype
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
