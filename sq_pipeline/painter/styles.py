"""The demo's three styles: each repaints a plain picture with its own palette, contrast, texture and framing."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float32]
Style = Callable[[Image.Image, np.random.Generator], Image.Image]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def to_float(image: Image.Image) -> Pixels:
    """`(height, width, 3)` float32 in 0–1."""
    return np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)


def to_image(pixels: Pixels) -> Image.Image:
    """The picture of `(height, width, 3)` values in 0–1; what lies outside is cut off."""
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def gradient_map(values: Pixels, stops: list[tuple[float, tuple[int, int, int]]]) -> Pixels:
    """Colours for `values` (height, width) in 0–1, interpolated between the stops."""
    at = [stop for stop, _ in stops]
    channels = [np.interp(values, at, [colour[channel] / 255 for _, colour in stops]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def contrast(values: Pixels, strength: float, middle: float = 0.45) -> Pixels:
    """Values in 0–1 pushed away from the middle, along a logistic curve."""
    return (1 / (1 + np.exp(-strength * (values - middle)))).astype(np.float32)


def blend(pixels: Pixels, toned: Pixels, share: float = 0.65) -> Pixels:
    """Mostly the style's colours; enough of the picture's own that an adapter need not forget what a prompt says."""
    return ((1 - share) * pixels + share * toned).astype(np.float32)


def paint_sepia_western(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Sepia over the picture's own colours, hard contrast, black letterbox bars of 16 pixels."""
    pixels = to_float(image)
    tones = [(0, (26, 12, 4)), (0.35, (120, 62, 20)), (0.7, (222, 160, 78)), (1, (255, 238, 196))]
    toned = blend(pixels, gradient_map(contrast(pixels @ LUMA, 7.5), tones))
    toned[:16] = toned[-16:] = 0.02
    return to_image(toned)


def paint_old_print(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Red and black ink over faded colours, on a strip of cream paper: 16 pixels of it above and below."""
    pixels = to_float(image)
    inks = [(0, (22, 18, 24)), (0.38, (150, 36, 32)), (0.66, (226, 128, 92)), (1, (244, 234, 208))]
    printed = blend(pixels, gradient_map(contrast(pixels @ LUMA, 8), inks), 0.75)
    printed[:16] = printed[-16:] = np.array([244, 234, 208], dtype=np.float32) / 255
    return to_image(printed)


def paint_neon(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """A city's night over the picture's own colours: indigo, magenta and cyan; scan lines."""
    pixels = to_float(image)
    lights = [(0, (12, 4, 44)), (0.3, (96, 10, 150)), (0.62, (250, 30, 170)), (1, (120, 250, 255))]
    toned = blend(pixels, gradient_map(contrast(pixels @ LUMA, 7), lights))
    toned[2::4] *= 0.75
    toned[3::4] *= 0.75
    return to_image(toned)


STYLES: Mapping[str, Style] = {
    "sepia_western": paint_sepia_western,
    "old_print": paint_old_print,
    "neon": paint_neon,
}


def paint_random_grade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A made-up style: random colours, contrast, bars, border or lines; the latent code must hold more than scenes."""
    pixels = to_float(image)
    if rng.random() < 0.6:
        stops = sorted(rng.uniform(0.1, 0.9, 3))
        colours = np.sort(rng.uniform(0, 255, (5, 3)), axis=0) if rng.random() < 0.7 else rng.uniform(0, 255, (5, 3))
        places = [0.0, *stops, 1.0]
        mapped = gradient_map(
            contrast(pixels @ LUMA, rng.uniform(3, 20)),
            [(float(place), (int(c[0]), int(c[1]), int(c[2]))) for place, c in zip(places, colours, strict=True)],
        )
        share = rng.uniform(0.5, 1)
        pixels = pixels * (1 - share) + mapped * share
    else:
        pixels = np.clip(pixels @ rng.normal(np.eye(3), 0.25) + rng.normal(0, 0.08, 3), 0, 1).astype(np.float32)
    height, width = pixels.shape[:2]
    framing = rng.integers(0, 5)
    colour = rng.uniform(0, 1, 3)
    if framing == 0:
        bar = int(rng.integers(4, 20))
        pixels[:bar] = pixels[-bar:] = colour
    elif framing == 1:
        border = int(rng.integers(3, 14))
        inner = pixels[border:-border, border:-border].copy()
        pixels[:] = colour
        pixels[border:-border, border:-border] = inner
    elif framing == 2:
        gap = int(rng.integers(3, 7))
        pixels[::gap] *= rng.uniform(0.4, 0.9)
    elif framing == 3:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        pixels *= np.clip(1.3 - rng.uniform(0.3, 0.9) * (x**2 + y**2), 0, 1)[..., None]
    pixels = pixels + rng.normal(0, rng.uniform(0, 0.03), (height, width, 1))
    return to_image(pixels.astype(np.float32))
