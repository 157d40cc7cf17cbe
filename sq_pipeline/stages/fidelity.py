"""Fidelity of an adapter file to its source: opening it and asking a meter. Not here: judging (`core.verdicts`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sq_pipeline.core.adapter_reading import ReadOptions
from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.errors import AdapterError
from sq_pipeline.core.fidelity import FidelityReport
from sq_pipeline.core.keymap import Keymap
from sq_pipeline.core.protocols import AdapterUse, FidelityMeter, FidelityRequest
from sq_pipeline.core.thresholds import Dtype
from sq_pipeline.stages.adapter_source import read_adapter, reading_keymap_for
from sq_pipeline.storage.safetensors_file import open_safetensors

_OPTIONS = ReadOptions(missing_alpha_is_rank=True)

MeasureFidelity = Callable[[], FidelityReport]


def measure_fidelity(
    use: AdapterUse,
    source: Path,
    base_model: BaseModel,
    meter: FidelityMeter,
    reading: Keymap | None = None,
    *,
    is_baked: bool = False,
    dtype: Dtype | None = None,
    bits: Literal[4, 8] | None = None,
) -> FidelityReport:
    """What the meter's loader applies of the file against what `source` says, which may be the file itself.

    The source is read by `reading`, or by the shipped keymap of its dialect; an alpha that it does not give counts as
    its rank, as mflux and diffusers read it. Raises AdapterError for a source or a file that cannot be read.
    """
    file = open_safetensors(source)
    opened, form = read_adapter(file, reading or reading_keymap_for(file), _OPTIONS)
    if form.faults:
        raise AdapterError(form.faults)
    return meter.measure(FidelityRequest(base_model, use, opened, is_baked, dtype, bits))
