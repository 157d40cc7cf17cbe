"""An adapter's null: the same file with each update's outputs exchanged and turned at random.

The update of each layer keeps its size, its rank and what it listens to; where it pushes has no meaning any more. What
such a file changes in a picture is what any change of that size gives. Not here: what is made of it (`verification`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import Matrix, Patch
from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.adapters.source import AdapterSource
from sq_pipeline.adapters.tensor_bits import to_bits, to_float32
from sq_pipeline.adapters.tensor_header import TensorInfo

_SEED = 20


def write_rotated(source: AdapterSource, target: Path) -> None:
    """Write the null of an opened adapter, under the same names and in the same dtypes, whole or not at all.

    Each update scale · up @ down becomes scale · (S P up) @ down with a random permutation P and random signs S of the
    layer's outputs, an orthogonal matrix: norms, ranks and singular values stay to the bit. Equal files give equal
    nulls. Raises AdapterError, StorageError.
    """
    file = source.file
    ups = _ups_by_key(source.patches.values())
    layout = [TensorInfo(info.name, info.dtype, info.shape) for info in file.tensors.values()]

    def tensors() -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
        for number, info in enumerate(layout):
            bits = file.read(info.name)
            matrices = ups.get(info.name)
            yield info, bits if matrices is None else _rotate(info, bits, matrices, number)

    write_safetensors(target, tensors(), layout, dict(file.metadata))


def _ups_by_key(patches: Iterable[Patch]) -> dict[str, list[Matrix]]:
    found: dict[str, list[Matrix]] = {}
    for patch in patches:
        spans = found.setdefault(patch.up.key, [])
        if patch.up not in spans:
            spans.append(patch.up)
    return found


def _rotate(info: TensorInfo, bits: npt.NDArray[Any], matrices: list[Matrix], number: int) -> npt.NDArray[Any]:
    """A tensor with the outputs of each of its parts exchanged within that part."""
    is_transposed = matrices[0].is_transposed
    turned = np.array(bits.T if is_transposed else bits, copy=True)
    for matrix in matrices:
        start, stop = matrix.row_span or (0, len(turned))
        numbers = np.random.default_rng([_SEED, number, start])
        rows = turned[start:stop]
        signs = numbers.choice(np.array([-1.0, 1.0]), len(rows))
        values = to_float32(info, rows[numbers.permutation(len(rows))]).astype(np.float64)
        turned[start:stop] = to_bits(info.dtype, values * signs[:, None])
    return np.ascontiguousarray(turned.T if is_transposed else turned)
