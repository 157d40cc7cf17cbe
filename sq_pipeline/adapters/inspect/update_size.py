"""The size of an update: norm and spectrum of scale · up @ down, from rank × rank products, streamed.

Neither the update nor a whole file is ever in memory: a tensor passes through one small buffer as float64, in which
products of float32 numbers are exact and cannot vanish or overflow.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.adapters.tensor_bits import NUMPY_KINDS, widen_bfloat16
from sq_pipeline.adapters.tensor_header import DTYPE_BYTES, TensorInfo
from sq_pipeline.common.errors import AdapterError, Fault

_CHUNK = 1 << 17  # numbers at a time: 1 MiB of float64, which stay in the processor's cache


class TensorReader:
    """Reads numbers of one file, in pieces, through one buffer. Use as a context."""

    def __init__(self, file: SafetensorsFile):
        self._file = file
        self._bytes = np.empty(_CHUNK * 8, np.uint8)
        self._numbers = np.empty(_CHUNK, np.float64)

    def __enter__(self) -> "TensorReader":
        self._stream = self._file.path.open("rb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def gram(self, info: TensorInfo, *, of_rows: bool) -> npt.NDArray[np.float64]:
        """Products of a matrix's rows with each other, (rows, rows), or of its columns, (columns, columns).

        Its diagonal is finite exactly when all numbers are (of F64: when their squares are), and zero when all are.
        """
        size = info.shape[0] if of_rows else info.shape[1]
        total = np.zeros((size, size))
        with np.errstate(all="ignore"):
            for piece in self._pieces(info, is_wide=of_rows):
                total += piece @ piece.T if of_rows else piece.T @ piece
        return total

    def number(self, info: TensorInfo) -> float:
        """The one number of a tensor."""
        return float(self._read(info, 0, 1)[0])

    def is_finite(self, info: TensorInfo) -> bool:
        """True when no number is NaN or infinite, of a tensor of any shape."""
        count = info.byte_count // DTYPE_BYTES[info.dtype]
        return all(
            bool(np.isfinite(self._read(info, at, min(_CHUNK, count - at))).all()) for at in range(0, count, _CHUNK)
        )

    def _pieces(self, info: TensorInfo, *, is_wide: bool) -> Iterator[npt.NDArray[np.float64]]:
        """The matrix in pieces of whole rows, or, where its rows are long (`is_wide`), of whole columns."""
        rows, columns = info.shape
        if not is_wide:
            height = max(1, _CHUNK // columns)
            for top in range(0, rows, height):
                count = min(height, rows - top)
                yield self._read(info, top * columns, count * columns).reshape(count, columns)
        elif rows * columns <= _CHUNK:
            yield self._read(info, 0, rows * columns).reshape(rows, columns)
        else:
            width = max(1, _CHUNK // rows)
            for left in range(0, columns, width):
                count = min(width, columns - left)
                piece = np.empty((rows, count))
                for row in range(rows):
                    piece[row] = self._read(info, row * columns + left, count)
                yield piece

    def _read(self, info: TensorInfo, start: int, count: int) -> npt.NDArray[np.float64]:
        """`count` numbers from the tensor's number `start` on, in the buffer: valid until the next read."""
        width = DTYPE_BYTES[info.dtype]
        if count > _CHUNK:
            self._bytes, self._numbers = np.empty(count * 8, np.uint8), np.empty(count, np.float64)
        raw = self._bytes[: count * width]
        self._stream.seek(self._file.data_start + info.start + start * width)
        view, at = raw.data, 0
        while at < len(view):
            got = self._stream.readinto(view[at:])
            if not got:
                raise AdapterError(Fault(str(self._file.path), "", "became shorter while it was read", "try again"))
            at += got
        numbers = self._numbers[:count]
        is_bfloat16 = info.dtype == "BF16"
        np.copyto(numbers, widen_bfloat16(raw.view("<u2")) if is_bfloat16 else raw.view(NUMPY_KINDS[info.dtype]))
        return numbers


def update_norm(down: npt.NDArray[np.float64], up: npt.NDArray[np.float64], scale: float) -> float:
    """Frobenius norm of scale · up @ down. `down`: (rank, rank) products of its rows; `up`: of its columns.

    ‖UD‖² = trace(UᵀU · DDᵀ): two small products in place of an outputs × inputs one.
    """
    with np.errstate(all="ignore"):
        return abs(scale) * float(np.sqrt(max(float(np.sum(up * down)), 0.0)))


def effective_rank(down: npt.NDArray[np.float64], up: npt.NDArray[np.float64]) -> float:
    """How many directions an update uses: exp of the entropy of its singular values, normalised to sum 1.

    From 1 (one direction) to the rank (all alike); 0 where down and up cancel out, or are zero. Roy & Vetterli,
    "The effective rank", EUSIPCO 2007. The squared singular values of U·D are the eigenvalues of √(DDᵀ)·UᵀU·√(DDᵀ).
    """
    values, vectors = np.linalg.eigh(down)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    squares = np.linalg.eigvalsh(root.T @ up @ root)
    rounding = len(down) * np.finfo(np.float64).eps * np.trace(down) * np.trace(up)
    singular = np.sqrt(np.where(squares > rounding, squares, 0.0))
    total = float(singular.sum())
    if total == 0:
        return 0.0
    shares = singular[singular > 0] / total
    return float(np.exp(-np.sum(shares * np.log(shares))))
