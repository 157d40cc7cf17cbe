"""PNG files of ours: writing pixels with text chunks, and reading both back from a file that nobody vouches for.

The chunks are read here (PNG specification, third edition, W3C 2025: §5.3 layout, §11.3.3 text), so that Pillow gets
nothing of a file but its header and its pixels. Not here: what the texts say (`pictures.provenance`).
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sq_pipeline.common.errors import Fault, PictureError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_MOST_FILE_BYTES = 256 << 20
_MOST_TEXT_BYTES = 1 << 20  # of one text, unpacked: a prompt and a stack are some thousand
_MOST_TEXTS_BYTES = 4 << 20  # of all texts of a file together
_MOST_PIXELS = 64 << 20


@dataclass(frozen=True)
class PngFile:
    """`texts`: those whose keyword has the wanted prefix. `pixels`: `(height, width, 3)` uint8; None where the file's
    pixels are of another kind, which `mode` tells (Pillow's name for it).
    """

    texts: dict[str, str]
    mode: str
    width_px: int
    height_px: int
    pixels: npt.NDArray[np.uint8] | None
    content: bytes


def encode_png(pixels: npt.NDArray[np.uint8], texts: Mapping[str, str], *, compress_level: int = 6) -> bytes:
    """PNG bytes with text chunks and nothing that differs between two makings of one picture.

    `compress_level` is zlib's, 0 to 9.
    """
    notes = PngInfo()
    for name, value in sorted(texts.items()):
        notes.add_itxt(name, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=notes, compress_level=compress_level)
    return buffer.getvalue()


def read_png(path: Path, prefix: str) -> PngFile:
    """The texts whose keyword starts with `prefix`, and the pixels; raises PictureError in one line.

    Memory stays within a few times the file and its pixels, whatever the chunks claim.
    """
    try:
        if not path.is_file():
            raise PictureError(Fault(str(path), "", "is no file", "name a PNG"))
        with path.open("rb") as file:
            content = file.read(_MOST_FILE_BYTES + 1)
    except OSError as error:
        raise PictureError(Fault(str(path), "", f"cannot be read ({error.strerror or error})", "")) from error
    return parse_png(content, str(path), prefix)


def parse_png(content: bytes, file: str, prefix: str) -> PngFile:
    """As `read_png`, of what a file holds; `file` names it in errors."""
    try:
        return _parse(content, prefix)
    except _Refused as error:
        raise PictureError(Fault(file, "", str(error), error.hint)) from error


class _Refused(Exception):
    def __init__(self, problem: str, hint: str = "get the file again, or render it again") -> None:
        super().__init__(problem)
        self.hint = hint


def _parse(content: bytes, prefix: str) -> PngFile:
    if len(content) > _MOST_FILE_BYTES:
        raise _Refused(f"is larger than {_MOST_FILE_BYTES >> 20} MiB", "it is no picture of this pipeline")
    if not content.startswith(_SIGNATURE):
        raise _Refused("is no PNG", "name a PNG")
    texts: dict[str, str] = {}
    kept, room_bytes = [_SIGNATURE], _MOST_TEXTS_BYTES
    size = (0, 0)
    for kind, start, end in _chunks(content):
        data = content[start:end]
        if kind == b"IHDR":
            size = _size(data)
        if kind in _PIXEL_CHUNKS:
            kept.append(content[start - 8 : end + 4])
        if kind in _TEXT_CHUNKS and data.startswith(prefix.encode()):
            name, text = _text(kind, data)
            room_bytes -= len(text)
            if room_bytes < 0:
                raise _Refused(f"holds more than {_MOST_TEXTS_BYTES >> 20} MiB of text", "the metadata was changed")
            if name in texts:
                raise _Refused(f"holds {name!r} twice", "the metadata was changed")
            texts[name] = text
    mode, pixels = _decode(b"".join(kept))
    return PngFile(texts, mode, *size, pixels, content)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk, and where its data starts and ends, to IEND."""
    at, is_first = len(_SIGNATURE), True
    while True:
        if at + 12 > len(content):
            raise _Refused("ends in the middle")
        (length,) = struct.unpack_from(">I", content, at)
        kind, start, end = content[at + 4 : at + 8], at + 8, at + 8 + length
        if end + 4 > len(content):
            raise _Refused(f"ends in the middle: a chunk claims {length} bytes")
        if struct.unpack_from(">I", content, end)[0] != zlib.crc32(memoryview(content)[at + 4 : end]):
            raise _Refused("is damaged: the checksum of a chunk is wrong")
        if is_first != (kind == b"IHDR"):
            raise _Refused("is damaged: its header is not where it should be")
        yield kind, start, end
        if kind == b"IEND":
            return
        at, is_first = end + 4, False


def _size(header: bytes) -> tuple[int, int]:
    if len(header) != 13:
        raise _Refused("is damaged: its header is not 13 bytes long")
    width, height = struct.unpack_from(">II", header)
    if not 0 < width * height <= _MOST_PIXELS:
        raise _Refused(f"claims {width} × {height} pixels", "it is no picture of this pipeline")
    return width, height


def _text(kind: bytes, data: bytes) -> tuple[str, str]:
    keyword, _, rest = data.partition(b"\0")
    name = keyword[:79].decode("latin-1")
    is_packed, codec = kind == b"zTXt", "latin-1"
    if is_packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        if len(rest) < 2:
            raise _Refused(f"{name!r} is damaged", "the metadata was changed")
        is_packed, codec = rest[0] != 0, "utf-8"
        rest = b"".join(rest[2:].split(b"\0", 2)[2:])  # after language and translated keyword
    if is_packed:
        rest = _unpack(rest, name)
    if len(rest) > _MOST_TEXT_BYTES:
        raise _Refused(f"{name!r} is longer than {_MOST_TEXT_BYTES >> 20} MiB", "the metadata was changed")
    try:
        return name, rest.decode(codec)
    except UnicodeDecodeError:
        raise _Refused(f"{name!r} is no text", "the metadata was changed") from None


def _unpack(packed: bytes, name: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, _MOST_TEXT_BYTES + 1)
    except zlib.error:
        raise _Refused(f"{name!r} cannot be unpacked", "the metadata was changed") from None


def _decode(bare: bytes) -> tuple[str, npt.NDArray[np.uint8] | None]:
    try:
        with Image.open(io.BytesIO(bare), formats=("PNG",)) as image:
            image.load()
            # 8 bits alone: Pillow narrows 16 without a word
            is_ours = image.mode == "RGB" and bare[24] == 8 and "transparency" not in image.info
            return image.mode, np.asarray(image, dtype=np.uint8) if is_ours else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _Refused(f"is damaged: its pixels cannot be read ({str(error).partition(chr(10))[0]})") from error
