"""A dataset as mlx-examples reads it: `train.jsonl` (`image`, `prompt`) beside pictures that it can take.

It takes the first three channels of the pixels as they are in the file: a grey or palette picture breaks it, CMYK would
be wrong colours, and neither a camera's orientation nor a colour profile is followed. Such pictures are written anew,
all others only linked.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.common.atomic import disk_error, write_text
from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.training.pictures.seen import open_picture, see
from sq_pipeline.training.plan import Crops
from sq_pipeline.training.ports import TrainingExample


def write_dataset(examples: Sequence[TrainingExample], folder: Path, crops: Crops) -> None:
    """Write the examples in their order. Raises DatasetError with every picture that cannot be read or is smaller than
    the resolution: mlx-examples would fill it up with black.
    """
    faults: list[Fault] = []
    lines: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for index, example in enumerate(examples):
        try:
            placed = _place(example.image_path, folder / f"{index:05d}", crops)
        except DatasetError as error:
            faults += error.faults
        else:
            lines.append(json.dumps({"image": placed.name, "prompt": example.caption}, ensure_ascii=True))
    if faults:
        raise DatasetError(faults)
    write_text(folder / "train.jsonl", "\n".join(lines) + "\n")


def _place(source: Path, stem: Path, crops: Crops) -> Path:
    size = crops.resolution
    with open_picture(source, source.name) as opened:
        seen = see(opened, crops.background, source.name)
        width, height = seen.image.size
        if width < size.width_px or height < size.height_px:
            problem = f"is {width}×{height} pixels, the training resolution is {size.width_px}×{size.height_px}"
            hint = "use a larger picture, or set `resolution` in lora.yaml"
            raise DatasetError(Fault(source.name, "", problem, hint))
    placed = stem.with_suffix(source.suffix if seen.is_as_stored else ".png")
    try:
        if seen.is_as_stored:
            placed.symlink_to(source.resolve())
        else:
            Image.fromarray(np.asarray(seen.image)).save(placed, compress_level=1)  # pixels only: no orientation again
    except OSError as error:
        raise disk_error(placed, error) from error
    return placed
