"""A training picture as large as another size: the middle of it, cut to that shape and scaled."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.training.pictures.seen import read_picture


def read_fitted(path: Path, size: SizePx, background: str | None) -> npt.NDArray[np.uint8]:
    """RGB pixels, `(height, width, 3)`; as little as possible is cut off. Raises DatasetError."""
    image = read_picture(path, background)
    return np.asarray(ImageOps.fit(image, (size.width_px, size.height_px), Image.Resampling.LANCZOS))
