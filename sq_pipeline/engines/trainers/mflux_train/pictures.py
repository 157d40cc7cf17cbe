"""The pictures of a dataset as `mflux-train` finds them: `data/00000.png` with its caption beside it, `preview_00.txt`.

mflux-train takes each picture once and whole, so the cuts and mirrored ones of the recipe are made here: the same ones
for the same seed. Not here: which pictures are held out (`training.validation_split`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sq_pipeline.common.atomic import disk_error, write_text
from sq_pipeline.training.pictures.seen import read_picture
from sq_pipeline.training.plan import Crops
from sq_pipeline.training.ports import TrainingExample


def write_pictures(
    folder: Path, examples: Sequence[TrainingExample], crops: Crops, seed: int, prompts: Sequence[str]
) -> str:
    """Write everything that mflux-train reads. Returns a hash of it; raises StorageError, DatasetError."""
    digest = hashlib.sha256()
    number = 0
    for index, example in enumerate(examples):
        picture = read_picture(example.image_path, crops.background)
        for copy in range(crops.num_augmentations):
            rng = np.random.default_rng([seed, index, copy])
            cut = cut_picture(picture, crops, rng)
            _save(cut, example.caption, folder / f"{number:05d}.png")
            digest.update(f"{cut.size} {example.caption}\n".encode() + cut.tobytes())
            number += 1
    for index, prompt in enumerate(prompts):
        write_text(folder / f"preview_{index:02d}.txt", prompt)
    return f"sha256:{digest.hexdigest()}"


def _save(picture: Image.Image, caption: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG", compress_level=1)
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    except OSError as error:
        raise disk_error(path, error) from error


def cut_picture(picture: Image.Image, crops: Crops, rng: np.random.Generator) -> Image.Image:
    """One random cut of `crop_min` to 1 of the largest one, scaled to the resolution; mirrored as often as not with
    `flip`.
    """
    size = crops.resolution
    scale = min(picture.width / size.width_px, picture.height / size.height_px)
    share = rng.uniform(crops.crop_min, 1)
    width, height = (side * scale * share for side in (size.width_px, size.height_px))
    at = (0.5, 0.5) if crops.crop_min == 1 else rng.uniform(0, 1, 2)
    left, top = (picture.width - width) * at[0], (picture.height - height) * at[1]
    box = (left, top, left + width, top + height)
    cut = picture.resize((size.width_px, size.height_px), Image.Resampling.LANCZOS, box=box)
    return ImageOps.mirror(cut) if crops.flip and rng.random() < 0.5 else cut
