"""Builders of adapter files for the tests of this folder: tiny, real, on disk. No test is here, and no code under test
writes these files: the reference `safetensors` library does, or plain bytes where a file has to be broken.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.common.layout import shipped_data_root

KEYMAPS = shipped_data_root() / "keymaps"
SMALL = replace(FLUX1_MODELS["tiny-flux"], name="small", double_blocks=1, single_blocks=1, hidden_size=4)
FULL = replace(FLUX1_MODELS["flux1-dev"], hidden_size=2)  # all names of flux1-dev, at the smallest width

# safetensors' word in a file: the reference library's word for it, bytes
DTYPES: Mapping[str, tuple[str, int]] = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "U32": ("uint32", 4),
    "I16": ("int16", 2),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}

Bits = npt.NDArray[Any]  # a tensor's raw bits, as unsigned integers of its width
Tensors = dict[str, tuple[str, Bits]]  # name: dtype, bits


def to_bits(values: npt.ArrayLike, dtype: str = "F32") -> Bits:
    """Numbers as the raw bits of `dtype`; bfloat16 by cutting float32's lower half off."""
    numbers = np.asarray(values, dtype=np.float32)
    if dtype == "F32":
        return numbers.view(np.uint32)
    if dtype == "F16":
        return numbers.astype(np.float16).view(np.uint16)
    assert dtype == "BF16"
    return (numbers.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def save(path: Path, tensors: Mapping[str, tuple[str, Bits]], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a file with the reference library."""
    kept = {name: (dtype, np.ascontiguousarray(bits).reshape(bits.shape)) for name, (dtype, bits) in tensors.items()}
    specs = {
        name: safetensors.TensorSpec(
            dtype=DTYPES[dtype][0], shape=list(bits.shape), data_ptr=bits.ctypes.data, data_len=bits.nbytes
        )
        for name, (dtype, bits) in kept.items()
    }
    path.write_bytes(safetensors.serialize(specs, dict(metadata) if metadata else None))
    return path


def load(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Read a file with the reference library: name to dtype, shape and bytes."""
    return {
        name: (entry["dtype"], tuple(entry["shape"]), bytes(entry["data"]))
        for name, entry in safetensors.deserialize(path.read_bytes())
    }


def load_bits(path: Path) -> Tensors:
    """The same as arrays of raw bits."""
    return {
        name: (dtype, np.frombuffer(content, dtype=f"<u{DTYPES[dtype][1]}").reshape(shape))
        for name, (dtype, shape, content) in load(path).items()
    }


def metadata_of(path: Path) -> dict[str, str]:
    """A file's metadata, by the reference library."""
    with safetensors.safe_open(str(path), framework="numpy") as file:
        return dict(file.metadata() or {})


def save_raw(path: Path, header: str | Mapping[str, Any], data: bytes = b"", claimed: int | None = None) -> Path:
    """Write a file by hand: `header` as JSON or as the text given, and any header length that is `claimed`."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text) if claimed is None else claimed) + text + data)
    return path


def entry(dtype: str, shape: Iterable[int], start: int, end: int) -> dict[str, Any]:
    """One tensor's entry in a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def mlx_tensors(base_model: Flux1Model = SMALL, rank: int = 2, dtype: str = "F32", seed: int = 0) -> Tensors:
    """A whole adapter in mlx-examples' layout: `lora_a` (inputs, rank), `lora_b` (rank, outputs)."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for module, inputs, outputs in modules_of(base_model):
        for matrix, shape in (("lora_a", (inputs, rank)), ("lora_b", (rank, outputs))):
            tensors[f"{module}.{matrix}"] = (dtype, to_bits(random.standard_normal(shape), dtype))
    return tensors


def with_value(tensors: Tensors, name: str, value: float) -> Tensors:
    """The same tensors with one number of one of them replaced."""
    dtype, bits = tensors[name]
    changed = bits.copy()
    changed.flat[0] = to_bits([value], dtype)[0]
    return {**tensors, name: (dtype, changed)}
