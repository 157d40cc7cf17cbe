"""Does each picture keep its own prompt's composition? Contours with an adapter against the base model's.

Not here: limits.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sq_pipeline.verification.measures.features import Floats, Pixels

_ROWS = 48  # of the picture, averaged, before contours are taken: what is finer is texture
_POOL = 4  # a contour may move this many of these rows and still be the same
_LUMA = np.array([0.299, 0.587, 0.114])


def contours(pixels: Pixels) -> Floats:
    """Where a picture has edges, and in which direction: `(height, width, 3)` uint8 → a flat vector.

    Luminance, averaged down to about 48 rows; absolute central differences across and down, averaged over cells of
    4 × 4. So colours, textures and small shifts count little; what stands where counts.
    """
    luma = _block_mean(pixels.astype(np.float64) @ _LUMA, max(1, min(pixels.shape[:2]) // _ROWS))
    down, across = np.gradient(luma)
    return np.concatenate([_block_mean(np.abs(edges), _POOL).ravel() for edges in (down, across)])


def subject_kept(with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> float:
    """How much of what tells prompts apart is kept: about 1 for the base model itself, 0 for one picture of all.

    Contours of each set without what all of it shares (a frame, a horizon); the mean correlation of each prompt's with
    the base model's of the same prompt, less that with the other prompts', as a share of what equal pictures have.
    Raises ValueError for fewer than two prompts, or unequal numbers.
    """
    if len(with_adapter) < 2 or len(with_adapter) != len(without):
        raise ValueError("prompts are told apart by two or more, each with and without the adapter")
    mine, base = (_apart(np.stack([contours(picture) for picture in each])) for each in (with_adapter, without))
    table, same = mine @ base.T, base @ base.T
    most = _own_less_others(same)
    return _own_less_others(table) / most if most > 1e-9 else 0.0


def _own_less_others(table: npt.NDArray[np.float64]) -> float:
    count = len(table)
    own = float(np.trace(table))
    return own / count - (float(table.sum()) - own) / (count * count - count)


def _apart(maps: Floats) -> Floats:
    """Each row without the mean of all, length 1; zeros where it is no other than the mean."""
    own = maps - maps.mean(axis=0)
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    least = 1e-6 * (np.linalg.norm(maps, axis=1, keepdims=True) + 1e-9)
    return np.where(lengths > least, own / np.maximum(lengths, 1e-12), 0.0)


def _block_mean(values: Floats, size: int) -> Floats:
    """Means of whole `size` × `size` blocks of `(height, width)`; what is left over at the far sides is left out."""
    height, width = (side // size * size for side in values.shape)
    return values[:height, :width].reshape(height // size, size, width // size, size).mean(axis=(1, 3))
