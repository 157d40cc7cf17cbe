"""A Z-Image or FLUX.2 adapter, opened: what it adds to which layer, with its numbers at hand.

Not here: FLUX.1's dialects (`adapters.source`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.family_reading import read_family_form
from sq_pipeline.adapters.form import Matrix, Patch
from sq_pipeline.adapters.safetensors_file import SafetensorsFile, open_safetensors
from sq_pipeline.adapters.source import is_alpha
from sq_pipeline.adapters.tensor_bits import to_float32, to_number
from sq_pipeline.base_models.base_models import Family
from sq_pipeline.common.errors import AdapterError


@dataclass(frozen=True)
class FamilySource:
    """An opened adapter; the `UpdateSource` of `adapters.form`."""

    file: SafetensorsFile
    patches: Mapping[str, Patch]

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """A matrix's numbers, (rows, columns); exact for F32, F16 and BF16."""
        return to_float32(self.file.tensors[matrix.key], self.file.read(matrix.key))


def open_family_adapter(path: Path, family: Family) -> FamilySource:
    """Read a file's header by the names of its family. Raises AdapterError with every fault."""
    file = open_safetensors(path)
    alphas = {
        name: to_number(info, file.read_bytes(name)) for name, info in file.tensors.items() if is_alpha(name, info)
    }
    reading = read_family_form(file.tensors, file.metadata, alphas, family, str(path))
    if reading.faults:
        raise AdapterError(reading.faults)
    return FamilySource(file, reading.patches)
