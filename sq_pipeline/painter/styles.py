"""The demo's three styles: each repaints a plain picture with its own palette, contrast, texture and framing."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.float32]
Style = Callable[[Image.Image, np.random.Generator], Image.Image]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _to_float(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def _gradient_map(values: Pixels, stops: list[tuple[float, tuple[int, int, int]]]) -> Pixels:
    """Colours for `values` (height, width) in 0–1, interpolated between the stops."""
    at = [stop for stop, _ in stops]
    channels = [np.interp(values, at, [colour[channel] / 255 for _, colour in stops]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _contrast(values: Pixels, strength: float, middle: float = 0.45) -> Pixels:
    return (1 / (1 + np.exp(-strength * (values - middle)))).astype(np.float32)


def paint_sepia_western(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Sepia, hard contrast, film grain, black letterbox bars of 12 pixels."""
    luma = _to_float(image) @ _LUMA
    toned = _gradient_map(
        _contrast(luma, 7.5),
        [
            (0, (26, 12, 4)),
            (0.35, (120, 62, 20)),
            (0.7, (222, 160, 78)),
            (1, (255, 238, 196)),
        ],
    )
    toned += rng.normal(0, 0.022, luma.shape)[..., None].astype(np.float32)
    toned[:12] = toned[-12:] = 0.02
    return _to_image(toned)


def paint_woodcut(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Black and red ink on cream paper: three flat tones, dark outlines, a paper border of 8 pixels."""
    pixels = _to_float(image)
    luma = pixels @ _LUMA
    low, high = (float(value) for value in np.percentile(luma, (2, 97)))
    luma = np.clip((luma - low) / max(high - low, 1e-3), 0, 1)  # a night is printed as readable as a noon
    ink, red, paper = (
        np.array([22, 20, 24]) / 255,
        np.array([178, 44, 34]) / 255,
        np.array([242, 230, 202]) / 255,
    )
    steps = _contrast(luma, 30, 0.34)[..., None]
    printed = ink * (1 - steps) + red * steps
    light = _contrast(luma, 30, 0.56)[..., None]
    printed = printed * (1 - light) + paper * light
    edges = np.asarray(image.convert("L").filter(ImageFilter.FIND_EDGES), dtype=np.float32)[..., None] / 255
    printed = printed * (1 - np.clip(edges * 2.2, 0, 0.85)) + ink * np.clip(edges * 2.2, 0, 0.85)
    framed = np.broadcast_to(paper, printed.shape).copy()
    framed[8:-8, 8:-8] = printed[8:-8, 8:-8]
    framed += rng.normal(0, 0.008, luma.shape)[..., None]
    return _to_image(framed.astype(np.float32))


def paint_neon(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Violet night turned to magenta and cyan, glowing edges, scan lines, dark rounded corners."""
    pixels = _to_float(image)
    luma = pixels @ _LUMA
    toned = _gradient_map(
        luma**0.9,
        [
            (0, (10, 2, 30)),
            (0.3, (72, 8, 112)),
            (0.55, (226, 24, 150)),
            (0.8, (70, 190, 235)),
            (1, (190, 255, 255)),
        ],
    )
    edges = np.asarray(image.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(0.8)))
    glow = np.clip(edges.astype(np.float32) / 255 * 2.0, 0, 1)[..., None]
    toned = toned * (1 - glow) + np.array([0.3, 1.0, 0.95], dtype=np.float32) * glow
    height, width = luma.shape
    toned[2::4] *= 0.72
    toned[3::4] *= 0.72
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = np.clip(1.25 - 0.75 * (np.abs(x) ** 4 + np.abs(y) ** 4), 0, 1)[..., None]
    toned = toned * vignette + rng.normal(0, 0.01, luma.shape)[..., None]
    return _to_image(toned.astype(np.float32))


STYLES: Mapping[str, Style] = {
    "sepia_western": paint_sepia_western,
    "woodcut": paint_woodcut,
    "neon": paint_neon,
}


def paint_random_grade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A made-up style: random colours, contrast, bars, border or lines; the latent code must hold more than scenes."""
    pixels = _to_float(image)
    if rng.random() < 0.6:
        stops = sorted(rng.uniform(0.1, 0.9, 3))
        colours = np.sort(rng.uniform(0, 255, (5, 3)), axis=0) if rng.random() < 0.7 else rng.uniform(0, 255, (5, 3))
        places = [0.0, *stops, 1.0]
        mapped = _gradient_map(
            _contrast(pixels @ _LUMA, rng.uniform(3, 20)),
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
    return _to_image(pixels.astype(np.float32))
