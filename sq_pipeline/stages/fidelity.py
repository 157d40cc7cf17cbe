"""Fidelity of an adapter file to its source: opening it and asking a meter. Not here: judging (`core.verdicts`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.fidelity import FidelityReport
from sq_pipeline.core.protocols import AdapterUse, FidelityMeter, FidelityRequest
from sq_pipeline.core.thresholds import Dtype
from sq_pipeline.stages.adapter_source import open_adapter

MeasureFidelity = Callable[[], FidelityReport]


def measure_fidelity(
    use: AdapterUse,
    source: Path,
    keymaps_root: Path,
    base_model: BaseModel,
    meter: FidelityMeter,
    *,
    is_baked: bool = False,
    dtype: Dtype | None = None,
    bits: Literal[4, 8] | None = None,
) -> FidelityReport:
    """What the meter's loader applies of the file against what `source` says, which may be the file itself.

    An alpha that the source does not give counts as its rank, as mflux and diffusers read it. Raises AdapterError for a
    source or a file that cannot be read.
    """
    opened = open_adapter(source, keymaps_root, missing_alpha_is_rank=True)
    return meter.measure(FidelityRequest(base_model, use, opened, is_baked, dtype, bits))
