"""What is measured of one picture: its colours, its frequencies, and where its contours run.

Colours are CIE 1976 L*a*b* under D65, as scikit-image computes them. Not here: comparing pictures (`style`, `subject`).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BORDER = 12  # a border is this part of the shorter side
_BANDS, DIRECTIONS = 7, 4
_LOWEST = 1 / 48  # cycles a pixel, at the size that is measured


def lab(pixels: Pixels) -> Floats:
    """`(height, width, 3)` uint8 → L* 0–100, a* and b* about −100–100."""
    from skimage.color import rgb2lab  # with SciPy half a second, which `plan` does not need

    return np.asarray(rgb2lab(pixels), dtype=np.float64)


def light_features(pixels: Pixels) -> Floats:
    """`(7,)`: mean, spread and five quantiles of L*."""
    return _statistics(lab(pixels)[..., :1])


def hue_features(pixels: Pixels) -> Floats:
    """`(14,)`: mean, spread and five quantiles of a* and of b*."""
    return _statistics(lab(pixels)[..., 1:])


def border_features(pixels: Pixels) -> Floats:
    """`(12,)`: the mean L*a*b* of the four borders, each a twelfth of the shorter side wide."""
    colours = lab(pixels)
    wide = max(1, min(pixels.shape[:2]) // _BORDER)
    strips = (colours[:wide], colours[-wide:], colours[:, :wide], colours[:, -wide:])
    return np.concatenate([strip.reshape(-1, 3).mean(axis=0) for strip in strips])


def _statistics(channels: Floats) -> Floats:
    flat = channels.reshape(-1, channels.shape[-1])
    return np.concatenate([flat.mean(axis=0), flat.std(axis=0), *np.quantile(flat, _QUANTILES, axis=0)])


def texture_features(pixels: Pixels) -> Floats:
    """`(28,)`: log power of L* in seven bands of frequency, each in four directions; Hann-windowed, without the mean.

    A band or direction in which the picture has no frequency is 0.
    """
    light = lab(pixels)[..., 0]
    height, width = light.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((light - light.mean()) * window)) ** 2
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius = np.hypot(across, down)
    sector = np.mod(np.arctan2(down, across) + np.pi / (2 * DIRECTIONS), np.pi) // (np.pi / DIRECTIONS)
    edges = np.geomspace(_LOWEST, 0.5, _BANDS + 1)
    found: list[float] = []
    for low, high in pairwise(edges):
        for direction in range(DIRECTIONS):
            chosen = power[(radius >= low) & (radius < high) & (sector == direction)]
            found.append(float(np.log(chosen.mean() + 1)) if chosen.size else 0.0)
    return np.array(found)


GROUPS: Mapping[str, Callable[[Pixels], Floats]] = {
    "light": light_features,
    "hue": hue_features,
    "borders": border_features,
    "texture": texture_features,
}
