"""A reading of all tensors of a file: their data version; which hold NaN, infinity, or nothing but zeros."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sq_pipeline.adapters.safetensors_file import PIECE_BYTES, SafetensorsFile, open_safetensors
from sq_pipeline.adapters.tensor_bits import has_magnitude, is_finite
from sq_pipeline.adapters.tensor_header import DTYPE_BYTES, TensorInfo
from sq_pipeline.common.fingerprints import fingerprint


@dataclass(frozen=True)
class TensorScan:
    """What a look at all numbers tells: which tensors hold NaN or infinity, and which nothing but zeros."""

    not_finite: tuple[str, ...]
    zeros: tuple[str, ...]


def scan_tensors(file: SafetensorsFile) -> TensorScan:
    """Read every tensor once, a piece in memory at a time."""
    finite: dict[str, bool] = {}
    zero: dict[str, bool] = {}
    for info, piece in _pieces(file):
        bits = np.frombuffer(piece, dtype=f"<u{DTYPE_BYTES[info.dtype]}")
        finite[info.name] = finite.get(info.name, True) and is_finite(info, bits)
        if zero.get(info.name, True):  # a few numbers tell, mostly
            zero[info.name] = not has_magnitude(info, bits[:512]) and not has_magnitude(info, bits)
    return TensorScan(
        tuple(name for name, is_so in finite.items() if not is_so),
        tuple(name for name, is_so in zero.items() if is_so),
    )


def _pieces(file: SafetensorsFile) -> Iterator[tuple[TensorInfo, bytes]]:
    """Every tensor's bytes in file order, in pieces; an empty tensor is one empty piece."""
    with file.path.open("rb") as opened:
        for info in file.tensors.values():
            opened.seek(file.data_start + info.start)
            for start in range(0, max(info.byte_count, 1), PIECE_BYTES):
                yield info, opened.read(min(PIECE_BYTES, info.byte_count - start))


def tensors_data_version(path: Path) -> str:
    """`sha256:…` of names, dtypes, shapes and bytes of all tensors; metadata and order do not count."""
    file = open_safetensors(path)
    digests = {name: hashlib.sha256() for name in file.tensors}
    for info, piece in _pieces(file):
        digests[info.name].update(piece)
    return fingerprint(
        {
            name: [info.dtype, list(info.shape), f"sha256:{digests[name].hexdigest()}"]
            for name, info in file.tensors.items()
        }
    )
