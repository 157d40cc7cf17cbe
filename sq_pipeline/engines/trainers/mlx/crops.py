"""The views that a training sees of its pictures: random cuts of them, scaled to the training size.

The cuts follow mlx-examples' trainer: both sides of the picture times a random share, at a random place, of which the
largest part of the training size's shape is scaled down. A picture is never scaled up, so one that has just the
training size has one view. Not here: encoding them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.training.buckets import choose_bucket
from sq_pipeline.training.pictures.seen import read_picture, upright_size
from sq_pipeline.training.plan import Crops

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """One cut of a picture: `box` is left, upper, right, lower in the picture's own pixels."""

    size: SizePx
    box: Box
    is_mirrored: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture file, its views, and what is under its transparent pixels."""

    path: Path
    crops: tuple[View, ...]
    background: str | None = None

    def pixels(self) -> list[npt.NDArray[np.uint8]]:
        """Each view's RGB pixels, (height, width, 3)."""
        image = read_picture(self.path, self.background)
        return [cut(image, view) for view in self.crops]


def plan_crops(paths: Sequence[Path], crops: Crops, numbers: np.random.Generator) -> list[Picture]:
    """Each picture with its random views; equal ones are one. Raises DatasetError for pictures that are too small."""
    return [
        Picture(path, tuple(dict.fromkeys(_random_crops(whole, size, crops, numbers))), crops.background)
        for path, whole, size in _sized(paths, crops)
    ]


def plan_plain_crops(paths: Sequence[Path], crops: Crops) -> list[Picture]:
    """Each picture with one view, as large a cut of its middle as there is: what a comparable loss is measured on."""
    return [Picture(path, (_fitted(whole, size),), crops.background) for path, whole, size in _sized(paths, crops)]


def cut(image: Image.Image, view: View) -> npt.NDArray[np.uint8]:
    """The view's RGB pixels, (height, width, 3)."""
    wanted = (view.size.width_px, view.size.height_px)
    if view.box == (0, 0, *wanted) and image.size == wanted:
        found = image
    else:
        found = image.resize(wanted, Image.Resampling.LANCZOS, box=view.box)
    return np.asarray(ImageOps.mirror(found) if view.is_mirrored else found)


def _sized(paths: Sequence[Path], crops: Crops) -> list[tuple[Path, SizePx, SizePx]]:
    """Each picture with its own size and the one that it is trained at."""
    sizes = crops.sizes
    found: list[tuple[Path, SizePx, SizePx]] = []
    faults: list[Fault] = []
    for path in paths:
        width_px, height_px = upright_size(path)
        size = choose_bucket(width_px, height_px, sizes)
        if size is None:
            problem = f"is {width_px}×{height_px} pixels, smaller than {sizes[0].width_px}×{sizes[0].height_px}"
            faults.append(Fault(str(path), "", problem, "use a larger picture; it is never scaled up"))
        else:
            found.append((path, SizePx(width_px, height_px), size))
    if faults:
        raise DatasetError(faults)
    return found


def _random_crops(whole: SizePx, size: SizePx, crops: Crops, numbers: np.random.Generator) -> list[View]:
    found: list[View] = []
    for _ in range(crops.num_augmentations):
        share, across, down = numbers.uniform(size=3)
        share = crops.crop_min + (1 - crops.crop_min) * share
        width = max(share * whole.width_px, size.width_px)
        height = max(share * whole.height_px, size.height_px)
        left, top = (whole.width_px - width) * across, (whole.height_px - height) * down
        is_mirrored = crops.flip and bool(numbers.integers(2))
        found.append(View(size, _largest((left, top, left + width, top + height), size), is_mirrored))
    return found


def _fitted(whole: SizePx, size: SizePx) -> View:
    return View(size, _largest((0.0, 0.0, float(whole.width_px), float(whole.height_px)), size))


def _largest(box: Box, size: SizePx) -> Box:
    """The largest part of the size's shape around the middle of a box."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    aspect = size.width_px / size.height_px
    kept = (height * aspect, height) if height * aspect <= width else (width, width / aspect)
    x, y = left + (width - kept[0]) / 2, top + (height - kept[1]) / 2
    # not beyond the box, which rounding may bring a hair's breadth over the picture's own edge
    return (x, y, min(x + kept[0], right), min(y + kept[1], bottom))
