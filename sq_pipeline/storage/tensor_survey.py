"""One reading of all tensors of a file: their data version, and which hold NaN, infinity, or nothing but zeros."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sq_pipeline.core.adapter_header import DTYPE_BYTES, TensorInfo
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.storage.safetensors_file import PIECE_BYTES, SafetensorsFile, open_safetensors
from sq_pipeline.storage.tensor_bits import has_magnitude, is_finite


@dataclass(frozen=True)
class TensorSurvey:
    """What one reading of all tensors tells: their data version, which hold NaN or infinity, and which only zeros."""

    data_version: str
    not_finite: tuple[str, ...]
    zeros: tuple[str, ...]


def survey_tensors(file: SafetensorsFile) -> TensorSurvey:
    """Read every tensor once, one in memory at a time."""
    finite: dict[str, bool] = {}
    zero: dict[str, bool] = {}
    with _TensorsVersion() as version:
        for info, piece in _pieces(file):
            version.update(info, piece)
            bits = np.frombuffer(piece, dtype=f"<u{DTYPE_BYTES[info.dtype]}")
            finite[info.name] = finite.get(info.name, True) and is_finite(info, bits)
            if zero.get(info.name, True):  # a few numbers tell, mostly
                zero[info.name] = not has_magnitude(info, bits[:512]) and not has_magnitude(info, bits)
        return TensorSurvey(
            version.value(),
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
    with _TensorsVersion() as version:
        for info, piece in _pieces(open_safetensors(path)):
            version.update(info, piece)
        return version.value()


class _TensorsVersion:
    """A data version that grows with its tensors' pieces. They are hashed beside the reading of the next."""

    _MAX_WAITING = 4  # pieces that are kept in memory for it

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._digests: dict[str, tuple[TensorInfo, Any]] = {}
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "_TensorsVersion":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def update(self, info: TensorInfo, piece: memoryview | bytes) -> None:
        """The next piece of a tensor's bytes."""
        if info.name not in self._digests:
            self._digests[info.name] = (info, hashlib.sha256())
        self._waiting.append(self._pool.submit(self._digests[info.name][1].update, piece))
        if len(self._waiting) > self._MAX_WAITING:
            self._waiting.popleft().result()

    def value(self) -> str:
        """`sha256:…` of names, dtypes, shapes and bytes, as `tensors_data_version` has it."""
        for future in self._waiting:
            future.result()
        return fingerprint(
            {
                name: [info.dtype, list(info.shape), f"sha256:{digest.hexdigest()}"]
                for name, (info, digest) in self._digests.items()
            }
        )
