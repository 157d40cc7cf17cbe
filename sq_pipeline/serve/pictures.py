"""The pictures that a server gives out: PNG files of its own, whole or not there, with what made them in their text.

They are nobody's records: a run enters its pictures in the store itself. Kept until somebody deletes them.
"""

import io
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sq_pipeline.core.fingerprints import canonical_json
from sq_pipeline.serve.socket_place import make_private, serve_folder
from sq_pipeline.storage.atomic import disk_error
from sq_pipeline.storage.layout import DataDir

_QUICK = 1  # zlib's level; a run packs its pictures again


def write_picture(data: DataDir, pixels: npt.NDArray[np.uint8], made_by: Mapping[str, Any]) -> Path:
    """A new PNG of `(height, width, 3)` uint8 pixels; its text chunk `sq.request` is `made_by` as canonical JSON.

    The file is whole once it has its name, but not forced onto the disk: after a power cut it is rendered again.
    Raises StorageError.
    """
    folder = serve_folder(data) / "pictures"
    notes = PngInfo()
    notes.add_itxt("sq.request", canonical_json(made_by))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=notes, compress_level=_QUICK)
    name = uuid.uuid4().hex
    part, final = folder / f".{name}.part.png", folder / f"{name}.png"
    try:
        make_private(folder)
        part.write_bytes(buffer.getvalue())
        part.replace(final)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise disk_error(final, error) from error
    return final


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of a PNG, `(height, width, 3)` uint8."""
    with Image.open(path, formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
