"""MLX arrays as the tensors of a safetensors file, bit by bit, and back. Not here: what files hold (`checkpoints`)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.safetensors_file import write_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo

Tensor = tuple[TensorInfo, npt.NDArray[Any]]

# MLX's dtype, its name in the file, and the unsigned integers that its bits travel as
_DTYPES = (
    (mx.float32, "F32", mx.uint32),
    (mx.bfloat16, "BF16", mx.uint16),
    (mx.float16, "F16", mx.uint16),
    (mx.uint32, "U32", mx.uint32),
    (mx.uint64, "U64", mx.uint64),
)
_NAME_OF = {dtype: (name, bits) for dtype, name, bits in _DTYPES}
_DTYPE_OF = {name: dtype for dtype, name, _ in _DTYPES}


def tensors_of(arrays: Mapping[str, mx.array]) -> list[Tensor]:
    """Header entry and bits of each array, by name; no copy. Raises KeyError for a dtype that no file here holds."""
    tensors: list[Tensor] = []
    for name, array in sorted(arrays.items()):
        dtype, bits = _NAME_OF[array.dtype]
        tensors.append((TensorInfo(name, dtype, array.shape), np.array(array.view(bits), copy=False)))
    return tensors


def array_of(info: TensorInfo, bits: npt.NDArray[Any]) -> mx.array:
    """The array with these bits. Raises KeyError for a dtype that is none of MLX's here."""
    return mx.array(bits).view(_DTYPE_OF[info.dtype])


def write_tensors(path: Path, tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all. Raises StorageError."""
    ordered = sorted(tensors, key=lambda pair: pair[0].name)
    write_safetensors(path, ordered, [info for info, _ in ordered], dict(metadata))
