"""safetensors files, read with care and written tensor by tensor.

Format: 8 bytes header length (little endian), a JSON header, then the tensors' bytes without gaps
(huggingface/safetensors, README, "Format"). Bytes are never converted: bfloat16 stays what it is.
Not here: what the names mean (`adapters.keymap`, `adapters.dialects`), what other files are (`adapters.file_kinds`).
"""

import json
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.file_kinds import HEAD_BYTES, name_kind
from sq_pipeline.adapters.tensor_header import DTYPE_BYTES, TensorInfo
from sq_pipeline.common.atomic import atomic_path
from sq_pipeline.common.errors import AdapterError, Fault

_MAX_HEADER_BYTES = 16 << 20  # read as JSON it takes up to twenty times as much; real ones have some hundred KB
_MOST_FAULTS = 20  # of one file
PIECE_BYTES = 1 << 20
_FLUSH_BYTES = 32 << 20
_HINT = "get the file again, or export it again"


@dataclass(frozen=True)
class SafetensorsFile:
    """A checked header: tensors in file order, metadata, and where the data begins in the file."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int

    def read_bytes(self, name: str) -> bytes:
        """One tensor's bytes, as they are in the file."""
        info = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(self.data_start + info.start)
            return file.read(info.byte_count)

    def read(self, name: str) -> npt.NDArray[Any]:
        """One tensor's raw bits in its shape: unsigned integers of the dtype's width."""
        info = self.tensors[name]
        bits = np.dtype(f"<u{DTYPE_BYTES[info.dtype]}")
        return np.frombuffer(self.read_bytes(name), dtype=bits).reshape(info.shape)


def _fault(path: Path, field: str, problem: str, hint: str = _HINT) -> AdapterError:
    return AdapterError(Fault(str(path), field, problem, hint))


def _is_text(value: Any) -> bool:
    """True for a text that can be written down again: JSON's `\\ud800` alone cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def open_safetensors(path: Path) -> SafetensorsFile:
    """Read and check a file's header; raises AdapterError with every fault found, and reads no tensor.

    Pickles, archives and other files are named for what they are (`file_kinds`) and never loaded.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode) or path.is_char_device():
            raise _fault(path, "", "is a pipe or a device, not a file", "write it to a file first")
        with path.open("rb") as file:
            return _read_header(path, file)
    except FileNotFoundError:
        raise _fault(path, "", "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise _fault(path, "", "is a folder, not a file", "name the .safetensors file in it") from None
    except OSError as error:
        raise _fault(path, "", f"cannot be read ({error.strerror})", "check the path and its permissions") from None


def _read_header(path: Path, file: BinaryIO) -> SafetensorsFile:
    head = file.read(HEAD_BYTES)
    size = file.seek(0, 2)
    if kind := name_kind(path, head, size):
        raise _fault(path, "", *kind)
    if size < 8:
        raise _fault(path, "", f"is {size} bytes long, too short for a safetensors file")
    (length,) = struct.unpack("<Q", head[:8])
    if _MAX_HEADER_BYTES < length <= size - 8:
        problem = f"has a header of {length >> 20} MiB, and no more than {_MAX_HEADER_BYTES >> 20} are read"
        raise _fault(path, "", problem, "if its metadata is that long, save it again without")
    if length > size - 8:
        raise _fault(path, "", f"claims a header of {length} bytes, but is {size} bytes long: damaged or cut off")
    file.seek(8)
    repeated: list[str] = []

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        header: Any = json.loads(file.read(length).decode(), object_pairs_hook=as_dict)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _fault(path, "", f"its header is not the JSON it should be ({error})") from None
    if not isinstance(header, dict):
        raise _fault(path, "", "its header is not a JSON object")
    faults = [Fault(str(path), "", f"its header has the key {key!r} twice", _HINT) for key in repeated]
    metadata = header.pop("__metadata__", {})
    metadata = {} if metadata is None else metadata  # as Rust's reader takes a null
    if not isinstance(metadata, dict) or not all(_is_text(text) for pair in metadata.items() for text in pair):
        faults.append(Fault(str(path), "__metadata__", "is not a mapping of texts", _HINT))
        metadata = {}
    tensors: dict[str, TensorInfo] = {}
    for name, entry in header.items():
        info = _read_entry(name, entry)
        if isinstance(info, str):
            faults.append(Fault(str(path), name if name.isprintable() else ascii(name), info, _HINT))
        else:
            tensors[name] = info
    if not faults:
        faults.extend(_check_offsets(path, tensors, size - 8 - length))
    if len(faults) > _MOST_FAULTS:
        more = Fault(str(path), "", f"{len(faults) - _MOST_FAULTS} more faults of its header", _HINT)
        faults = [*faults[:_MOST_FAULTS], more]
    if faults:
        raise AdapterError(faults)
    return SafetensorsFile(path, tensors, metadata, 8 + length)


def _read_entry(name: str, entry: Any) -> TensorInfo | str:
    """The entry as a TensorInfo, or what is wrong with it."""
    if not name.isprintable():
        return "its name has characters that cannot be printed"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return "its entry needs dtype, shape and data_offsets, and nothing else"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        return f"has the dtype {dtype!r}, which is not known here"
    is_shape = isinstance(shape, list) and all(type(part) is int and 0 <= part < 2**40 for part in shape)
    is_span = isinstance(offsets, list) and len(offsets) == 2 and all(type(part) is int for part in offsets)
    if not is_shape or not is_span:
        return "its shape or data_offsets are not whole numbers"
    info = TensorInfo(name, dtype, tuple(shape), offsets[0])
    if not 0 <= offsets[0] <= offsets[1] or offsets[1] - offsets[0] != info.byte_count:
        return f"shape {list(shape)} in {dtype} needs {info.byte_count} bytes, its data_offsets span {offsets}"
    return info


def _check_offsets(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> Iterator[Fault]:
    at = 0
    for info in sorted(tensors.values(), key=lambda info: (info.start, info.byte_count)):
        if info.start != at:
            kind = "overlaps another tensor" if info.start < at else "leaves a gap before it"
            yield Fault(str(path), info.name, f"its data {kind}", _HINT)
        at = max(at, info.start + info.byte_count)
    if at > data_bytes:
        yield Fault(str(path), "", f"is cut off: its tensors need {at} bytes, {data_bytes} are there", _HINT)
    elif at < data_bytes:
        yield Fault(str(path), "", f"has {data_bytes - at} bytes after its last tensor", _HINT)


def write_safetensors(
    path: Path,
    tensors: Iterable[tuple[TensorInfo, npt.NDArray[Any]]],
    layout: Iterable[TensorInfo],
    metadata: Mapping[str, str],
    at_last: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Write a file atomically, one tensor in memory at a time. `layout` gives names, dtypes and shapes in the order
    in which `tensors` brings the bits. Equal input gives equal bytes: metadata is sorted, nothing else is added.
    `at_last` brings the metadata that is known only when the tensors are written; `metadata` holds its place, and has
    to be as long. Raises ValueError, and writes nothing, when `tensors` does not bring what `layout` announced.
    """
    layout = list(layout)
    encoded = _encode_header(layout, metadata)
    with (
        atomic_path(path) as part,
        part.open("wb") as file,
        ThreadPoolExecutor(1, thread_name_prefix="flush") as flusher,
    ):
        slabs = _Slabs()
        unflushed, flushes = 0, list[Future[None]]()
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for info, (brought, bits) in zip(layout, tensors, strict=True):
            if (brought.name, bits.shape, bits.dtype.itemsize) != (info.name, info.shape, DTYPE_BYTES[info.dtype]):
                raise ValueError(f"{brought.name}: {bits.dtype} {bits.shape} brought where {info} was announced")
            for piece in slabs.of(bits):
                file.write(piece)
                unflushed += piece.nbytes
            if unflushed >= _FLUSH_BYTES:
                # beside the making of the rest, so that the last flush, before the file gets its name, waits for little
                flushes.append(flusher.submit(os.fsync, file.fileno()))
                unflushed = 0
        for flush in flushes:
            flush.result()
        if at_last is not None:
            last = _encode_header(layout, at_last())
            if len(last) != len(encoded):
                raise ValueError(f"a header of {len(last)} bytes where {len(encoded)} were held free")
            file.seek(8)
            file.write(last)


def _encode_header(layout: Sequence[TensorInfo], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for info in layout:
        header[info.name] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [at, at + info.byte_count],
        }
        at += info.byte_count
    if len(header) != len(layout) + bool(metadata):
        raise ValueError("two tensors of one name, or one with the metadata's")
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return encoded + b" " * (-len(encoded) % 8)


class _Slabs:
    """Arrays as contiguous pieces of some rows each, in one buffer that is used again and again.

    A new buffer for each piece costs more than turning its numbers: the system fills fresh memory with zeros.
    """

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(PIECE_BYTES))

    def of(self, bits: npt.NDArray[Any]) -> Iterator[memoryview]:
        """The pieces of one array, in order, each until the next; an array that is contiguous as it is, whole."""
        if bits.flags.c_contiguous or bits.ndim != 2 or len(bits) * PIECE_BYTES < bits.nbytes:
            yield np.ascontiguousarray(bits).reshape(-1).view(np.uint8).data
            return
        rows = max(1, PIECE_BYTES * len(bits) // max(bits.nbytes, 1))
        for start in range(0, len(bits), rows):
            part = bits[start : start + rows]
            piece = self._buffer[: part.nbytes]
            np.copyto(np.frombuffer(piece, dtype=bits.dtype).reshape(part.shape), part)
            yield piece
