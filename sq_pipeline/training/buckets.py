"""Aspect buckets: the sizes that pictures of all shapes are trained at, and the one for each picture.

All sizes of a resolution have about its area, so that a batch costs about the same whichever bucket it is of.
"""

import math
from collections.abc import Sequence

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.training.recipe import Recipe

_STEP_PX = 16  # one token
_ASPECT_MAX = 2.0


def bucket_sizes(resolution: SizePx) -> tuple[SizePx, ...]:
    """Sizes in steps of 16 pixels from twice as high as wide to twice as wide as high, by width.

    None is larger in area than the resolution; each is the largest of its width.
    """
    area = resolution.width_px * resolution.height_px
    sizes: list[SizePx] = []
    first = math.ceil(math.sqrt(area / _ASPECT_MAX) / _STEP_PX) * _STEP_PX
    for width_px in range(first, math.floor(math.sqrt(area * _ASPECT_MAX)) + 1, _STEP_PX):
        height_px = area // width_px // _STEP_PX * _STEP_PX
        if height_px and 1 / _ASPECT_MAX <= width_px / height_px <= _ASPECT_MAX:
            sizes.append(SizePx(width_px, height_px))
    return tuple(sizes) if resolution in sizes else tuple(sorted([*sizes, resolution], key=lambda s: s.width_px))


def training_sizes(recipe: Recipe, training_size: SizePx) -> tuple[SizePx, ...]:
    """The sizes that a recipe trains at, over a base model with that training size; the first is its resolution."""
    resolution = training_resolution(recipe, training_size)
    if not recipe.aspect_buckets:
        return (resolution,)
    return resolution, *(size for size in bucket_sizes(resolution) if size != resolution)


def training_resolution(recipe: Recipe, training_size: SizePx) -> SizePx:
    """The recipe's resolution, or the base model's training size."""
    return training_size if recipe.resolution is None else SizePx(*recipe.resolution)


def choose_bucket(width_px: int, height_px: int, sizes: Sequence[SizePx]) -> SizePx | None:
    """The size whose shape fits the picture best, among those that it need not be scaled up for; None where none is.

    Of two that fit alike the larger, then the wider one.
    """
    fitting = [size for size in sizes if size.width_px <= width_px and size.height_px <= height_px]
    aspect = width_px / height_px

    def rank(size: SizePx) -> tuple[float, int, int]:
        misfit = abs(math.log(size.width_px / size.height_px / aspect))
        return round(misfit, 9), -size.width_px * size.height_px, -size.width_px

    return min(fitting, key=rank, default=None)
