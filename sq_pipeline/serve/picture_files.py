"""The pictures that a server gives out: PNG files of its own, whole or not there, with what made them in their text.

They are nobody's records: a run enters its pictures in the store itself. Kept until somebody deletes them.
"""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.serve.socket_place import make_private, serve_folder

_QUICK = 1  # zlib's level; a run packs its pictures again


def write_picture(data: DataDir, pixels: npt.NDArray[np.uint8], texts: Mapping[str, str]) -> Path:
    """A new PNG of `(height, width, 3)` uint8 pixels with these text chunks.

    The file is whole once it has its name, but not forced onto the disk: after a power cut it is rendered again.
    Raises StorageError.
    """
    folder = serve_folder(data) / "pictures"
    content = encode_png(pixels, texts, compress_level=_QUICK)
    name = uuid.uuid4().hex
    part, final = folder / f".{name}.part.png", folder / f"{name}.png"
    try:
        make_private(folder)
        part.write_bytes(content)
        part.replace(final)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise disk_error(final, error) from error
    return final


def remove_halves(data: DataDir) -> None:
    """Remove what a server that died was writing. Only while no server is up."""
    for part in (serve_folder(data) / "pictures").glob(".*.part.png"):
        with suppress(OSError):  # it is in nobody's way
            part.unlink()


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of a PNG, `(height, width, 3)` uint8."""
    with Image.open(path, formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
