"""The pictures of a dataset as `mflux-train` finds them: `data/00000.png` with its caption beside it, `preview_00.txt`.

mflux-train takes each picture once and whole, so the cuts and mirrored ones of the recipe are made here: the same ones
for the same seed. Not here: which pictures are held out (`training.held_out`).
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.atomic import disk_error, write_text
from sq_pipeline.training.ports import TrainingExample
from sq_pipeline.training.recipe import Recipe

_GRID_PX = 16
_MOST_RATIO = 2.0  # of a picture's sides, with aspect buckets


def write_pictures(
    folder: Path, examples: Sequence[TrainingExample], recipe: Recipe, size: SizePx, prompts: Sequence[str]
) -> str:
    """Write everything that mflux-train reads. Returns a hash of it; raises StorageError."""
    digest = hashlib.sha256()
    number = 0
    for index, example in enumerate(examples):
        with Image.open(example.image_path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        for copy in range(recipe.num_augmentations):
            rng = np.random.default_rng([recipe.seed, index, copy])
            cut = cut_picture(picture, recipe, size_for(picture.size, recipe, size), rng)
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


def size_for(picture_px: tuple[int, int], recipe: Recipe, size: SizePx) -> SizePx:
    """What a picture is trained at: the training's size; with aspect buckets one of that area in its own shape."""
    if not recipe.aspect_buckets:
        return size
    ratio = min(max(picture_px[0] / picture_px[1], 1 / _MOST_RATIO), _MOST_RATIO)
    area = size.width_px * size.height_px
    sides = (math.sqrt(area * ratio), math.sqrt(area / ratio))
    width, height = (max(_GRID_PX, round(side / _GRID_PX) * _GRID_PX) for side in sides)
    return SizePx(width, height)


def cut_picture(picture: Image.Image, recipe: Recipe, size: SizePx, rng: np.random.Generator) -> Image.Image:
    """One random cut of `crop_min` to 1 of the sides, scaled to `size`; mirrored as often as not with `flip`."""
    scale = min(picture.width / size.width_px, picture.height / size.height_px)
    share = rng.uniform(recipe.crop_min, 1)
    width, height = (side * scale * share for side in (size.width_px, size.height_px))
    at = (0.5, 0.5) if recipe.crop_min == 1 else rng.uniform(0, 1, 2)
    left, top = (picture.width - width) * at[0], (picture.height - height) * at[1]
    box = (left, top, left + width, top + height)
    cut = picture.resize((size.width_px, size.height_px), Image.Resampling.LANCZOS, box=box)
    return ImageOps.mirror(cut) if recipe.flip and rng.random() < 0.5 else cut
