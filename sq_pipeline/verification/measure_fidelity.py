"""Fidelity of an adapter file to its source: opening it and asking a meter. Not here: judging (`verdicts`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.keymap_files import family_keymap
from sq_pipeline.adapters.reading import AS_LOADERS_MEAN
from sq_pipeline.adapters.reading_faults import for_other_commands, with_whole_commands
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.source import read_adapter, reading_keymap_for
from sq_pipeline.base_models.base_models import BaseModel, Dtype
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.ports import FidelityMeter, FidelityRequest

MeasureFidelity = Callable[[], FidelityReport]


def reading_for(source: Path, base_model: BaseModel, keymaps_root: Path) -> Keymap | None:
    """The keymap that `measure_fidelity` reads a source by; None for a family whose names need none.

    Raises AdapterError or KeymapError.
    """
    with with_whole_commands():
        return reading_keymap_for(open_safetensors(source), keymaps_root) if base_model.family == "flux1" else None


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

    The source is read by `reading`, or by the shipped keymap of its dialect; that of another family than FLUX.1 by the
    names of the family. An alpha that it does not give counts as its rank, as mflux and diffusers read it. Raises
    AdapterError for a source or a file that cannot be read.
    """
    file = open_safetensors(source)
    if base_model.family != "flux1":
        reading = family_keymap(base_model.family)
    opened, form = read_adapter(file, reading or reading_keymap_for(file), AS_LOADERS_MEAN)
    if form.faults:
        raise AdapterError(map(for_other_commands, form.faults))
    return meter.measure(FidelityRequest(base_model, use, opened, is_baked, dtype, bits))
