"""Where a picture has contours: what stands where, whatever its colours and textures are. Not here: comparing them."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

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


def _block_mean(values: Floats, size: int) -> Floats:
    """Means of whole `size` × `size` blocks of `(height, width)`; what is left over at the far sides is left out."""
    height, width = (side // size * size for side in values.shape)
    return values[:height, :width].reshape(height // size, size, width // size, size).mean(axis=(1, 3))
