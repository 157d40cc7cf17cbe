"""The files that the gallery may show, by their hash: a name that is not in this index is never opened.

What is read is hashed again, so a file that changed since it was looked at is not shown under the old hash.
Not here: which pictures there are (`groups`, `details`).
"""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.pipeline.context import Context

THUMB_PX = 512  # the longer side of what stands for a larger picture in the grid
_MOST_PLACES = 3  # of one picture: the store, the game's folder, a take
_MOST_KEPT_BYTES = 32 << 20  # of thumbnails in memory
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@dataclass(frozen=True)
class ShownFile:
    """A picture that can be shown: `sha256` in hex digits, its size in pixels."""

    sha256: str
    width_px: int
    height_px: int

    @property
    def has_thumb(self) -> bool:
        """True where a smaller picture stands for it in the grid; small ones are shown as they are, pixel by pixel."""
        return max(self.width_px, self.height_px) > THUMB_PX

    def as_json(self) -> dict[str, object]:
        """What the page knows of it."""
        return {"sha": self.sha256, "w": self.width_px, "h": self.height_px, "thumb": self.has_thumb}


class PictureFiles:
    """The index. Threads may use it at once."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Path, ...]] = {}
        self._thumbs: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def enter(self, sha256: str, path: Path) -> str:
        """A file that holds (as its stat tells) the bytes of this hash; returns the hash as the page names it."""
        digits = sha256.removeprefix("sha256:")
        with self._lock:
            known = self._places.get(digits, ())
            if path not in known:
                self._places[digits] = (path, *known)[:_MOST_PLACES]
        return digits

    def enter_file(self, context: Context, path: Path) -> ShownFile | None:
        """A file that may be anything, entered if it is a picture that browsers show; None otherwise."""
        if path.is_symlink() or not path.is_file():
            return None
        try:
            size = context.files.remember(path, "shown size", lambda: _size_of(path))
            sha256 = context.files.hash_of(path)
        except OSError:
            return None
        if not size:
            return None
        width, _, height = size.partition("x")
        return ShownFile(self.enter(sha256, path), int(width), int(height))

    def read(self, digits: str) -> tuple[bytes, str] | None:
        """The bytes of this hash and their media type; None where no file that is known holds them any more."""
        for path in self._places.get(digits, ()):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if hash_bytes(content) == f"sha256:{digits}":
                return content, _type_of(content)
        return None

    def read_thumb(self, digits: str) -> tuple[bytes, str] | None:
        """As `read`, at most `THUMB_PX` wide and high, as WebP."""
        with self._lock:
            if (known := self._thumbs.get(digits)) is not None:
                self._thumbs.move_to_end(digits)
                return known, "image/webp"
        found = self.read(digits)
        if found is None:
            return None
        thumb = _make_thumb(found[0])
        if thumb is None:
            return found
        with self._lock:
            if digits not in self._thumbs:
                self._thumbs[digits] = thumb
                self._kept_bytes += len(thumb)
            while self._kept_bytes > _MOST_KEPT_BYTES:
                self._kept_bytes -= len(self._thumbs.popitem(last=False)[1])
        return thumb, "image/webp"


def _size_of(path: Path) -> str:
    """`256x192`; empty for what is no picture that browsers show."""
    try:
        with Image.open(path, formats=tuple(_TYPES)) as image:
            return f"{image.width}x{image.height}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""


def _type_of(content: bytes) -> str:
    if content.startswith(b"\xff\xd8"):
        return _TYPES["JPEG"]
    return _TYPES["WEBP"] if content[8:12] == b"WEBP" else _TYPES["PNG"]


def _make_thumb(content: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(content), formats=tuple(_TYPES)) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMB_PX, THUMB_PX))
            buffer = io.BytesIO()
            small.save(buffer, format="WEBP", quality=82)
            return buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
