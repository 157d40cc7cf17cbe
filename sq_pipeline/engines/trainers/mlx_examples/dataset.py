"""A dataset as mlx-examples reads it: `train.jsonl` (`image`, `prompt`) beside pictures that it can take.

It takes the first three channels of the pixels as they are in the file: a grey or palette picture breaks it, CMYK would
be wrong colours, and a camera's orientation is not followed. Such pictures are written anew, all others only linked.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.training.ports import TrainingExample


def write_dataset(examples: Sequence[TrainingExample], folder: Path, size: SizePx) -> None:
    """Write the examples in their order. Raises DatasetError with every picture that cannot be read or is smaller than
    `size` (width, height): mlx-examples would fill it up with black.
    """
    faults: list[Fault] = []
    lines: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for index, example in enumerate(examples):
        placed = _place(example.image_path, folder / f"{index:05d}", size)
        if isinstance(placed, Fault):
            faults.append(placed)
        else:
            lines.append(json.dumps({"image": placed.name, "prompt": example.caption}, ensure_ascii=True))
    if faults:
        raise DatasetError(faults)
    write_text(folder / "train.jsonl", "\n".join(lines) + "\n")


def _place(source: Path, stem: Path, size: SizePx) -> Path | Fault:
    try:
        with Image.open(source) as image:
            is_plain = image.mode == "RGB" and image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            upright = image if is_plain else ImageOps.exif_transpose(image).convert("RGB")
            width, height = upright.size
            if width < size.width_px or height < size.height_px:
                problem = f"is {width}×{height} pixels, the training resolution is {size.width_px}×{size.height_px}"
                return Fault(source.name, "", problem, "use a larger picture, or set `resolution` in lora.yaml")
            if is_plain:
                placed = stem.with_suffix(source.suffix)
                placed.symlink_to(source.resolve())
            else:
                placed = stem.with_suffix(".png")
                Image.fromarray(np.asarray(upright)).save(placed, compress_level=1)  # pixels only: no orientation again
            return placed
    except (OSError, ValueError, SyntaxError) as error:
        return Fault(source.name, "", f"cannot be read ({error})", "save it again as PNG")
