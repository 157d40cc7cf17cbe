"""What a safetensors header says of one tensor. Not here: reading files (`adapters.safetensors_file`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

DTYPE_BYTES: Mapping[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "U64": 8,
    "I32": 4,
    "U32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


@dataclass(frozen=True)
class TensorInfo:
    """Name, dtype (safetensors' word for it), shape, and the offset of its first byte in the data part."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int = 0

    @property
    def byte_count(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]
