"""An adapter of any dialect, opened in the internal form: what it adds to which module, with its numbers at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sq_pipeline.core.adapter_form import Matrix, Patch
from sq_pipeline.storage.safetensors_file import SafetensorsFile, to_float32


@dataclass(frozen=True)
class AdapterSource:
    """An opened adapter. `patches` by slot; `dialect` is the name of the dialect it was read as."""

    file: SafetensorsFile
    dialect: str
    patches: Mapping[str, Patch]

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """A matrix's numbers, (rows, columns); exact for F32, F16 and BF16."""
        values = to_float32(self.file.tensors[matrix.key], self.file.read(matrix.key))
        values = values.T if matrix.is_transposed else values
        rows, columns = matrix.row_span or (0, None), matrix.column_span or (0, None)
        return values[slice(*rows), slice(*columns)]


def open_adapter(
    path: Path, keymaps_root: Path, dialect: str | None = None, *, missing_alpha_is_rank: bool = False
) -> AdapterSource:
    """Read a file's header into the internal form, by the keymap of its dialect (told from its names, or given).

    Raises AdapterError with every fault: unknown, repeated or misshapen keys, halves without partner, an alpha that is
    missing where loaders differ on what that means.
    """
    raise NotImplementedError
