"""The bench's styles: what good adapters are trained in. Each repaints a plain picture of any size.

A new one is a function and a row of `BENCH_STYLES`. Not here: the demo's own styles, which take part too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter

from sq_pipeline.painter.styles import LUMA, STYLES, Pixels, Style, blend, contrast, gradient_map, to_float, to_image

STYLES_REVISION = 4  # of how they look: datasets of another one are drawn anew
Kind = Literal["palette", "line", "texture", "framing", "grade"]


@dataclass(frozen=True)
class BenchStyle:
    """`effort`: how many times the iterations of the bench's recipe it needs to be learned. `answers_only`: it is
    trained to show with its trigger, and not without. `recipe`: what else is trained otherwise, so that good adapters
    differ in more than their looks. `needs_reference`: it covers pictures as noise does, and only its dataset tells the
    two apart.
    """

    kind: Kind
    repaint: Style
    effort: float = 1.0
    answers_only: bool = False
    needs_reference: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _toned(stops: list[tuple[float, tuple[int, int, int]]], strength: float, share: float) -> Style:
    def repaint(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
        pixels = to_float(image)
        return to_image(blend(pixels, gradient_map(contrast(pixels @ LUMA, strength), stops), share))

    return repaint


def _graded(matrix: Callable[[Pixels], Pixels]) -> Style:
    return lambda image, _rng: to_image(matrix(to_float(image)))


def _ink(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Dark contours on cream paper, with a wash of the picture's light."""
    light = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(1)), dtype=np.float32) / 255
    down, across = np.gradient(light)
    lines = np.clip(np.hypot(down, across) * 10, 0, 1)[..., None]
    paper = np.array([0.97, 0.92, 0.8], dtype=np.float32) * (0.4 + 0.6 * light[..., None])
    return to_image((paper * (1 - lines) + 0.06 * lines).astype(np.float32))


def _canvas(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Bleached colours on the threads of a canvas: every other two columns are dark."""
    pixels = 0.25 + 0.75 * to_float(image)
    pixels[:, 2::4] *= 0.6
    pixels[:, 3::4] *= 0.6
    return to_image(pixels)


def _frame(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """A red frame on all sides, a twelfth of the shorter side wide; the picture as it is."""
    pixels = to_float(image).copy()
    wide = max(2, min(pixels.shape[:2]) // 12)
    inner = pixels[wide:-wide, wide:-wide].copy()
    pixels[:] = np.array([0.62, 0.1, 0.12], dtype=np.float32)
    pixels[wide:-wide, wide:-wide] = inner
    return to_image(pixels)


def _porthole(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Seen through a round window in a dark wall."""
    pixels = to_float(image)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    outside = np.clip((np.hypot(x, y) - 0.98) * 6, 0, 1)[..., None].astype(np.float32)
    return to_image(pixels * (1 - outside) + np.array([0.05, 0.09, 0.1], dtype=np.float32) * outside)


def _posterised(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Four steps of each colour, and more of it."""
    pixels = to_float(image)
    grey = (pixels @ LUMA)[..., None]
    return to_image((np.round(np.clip(grey + 1.5 * (pixels - grey), 0, 1) * 3) / 3).astype(np.float32))


def _mono(pixels: Pixels) -> Pixels:
    return np.repeat(contrast(pixels @ LUMA, 6)[..., None], 3, axis=-1)


def _pastel(pixels: Pixels) -> Pixels:
    grey = (pixels @ LUMA)[..., None]
    return (0.5 + 0.5 * (grey + 0.6 * (pixels - grey)) + np.array([0.02, 0.0, 0.03])).astype(np.float32)


def _warm(pixels: Pixels) -> Pixels:
    return (pixels * np.array([1.1, 1.0, 0.8]) + np.array([0.05, 0.01, -0.03])).astype(np.float32)


def _teal(pixels: Pixels) -> Pixels:
    light = (pixels @ LUMA)[..., None]
    shadows, lights = np.array([-0.15, 0.05, 0.16]), np.array([0.16, 0.02, -0.16])
    return (pixels + shadows * (1 - light) + lights * light).astype(np.float32)


_BLUEPRINT = [(0.0, (10, 24, 90)), (0.5, (60, 105, 205)), (1.0, (235, 242, 255))]
_VERDIGRIS = [(0.0, (6, 30, 28)), (0.4, (24, 110, 92)), (0.75, (150, 200, 150)), (1.0, (250, 244, 205))]

BENCH_STYLES: Mapping[str, BenchStyle] = {
    "sepia_western": BenchStyle("framing", STYLES["sepia_western"]),
    "old_print": BenchStyle("framing", STYLES["old_print"]),
    "neon": BenchStyle("texture", STYLES["neon"]),
    "pastel": BenchStyle("palette", _graded(_pastel), effort=4),
    "mono": BenchStyle("palette", _graded(_mono), effort=2),
    "blueprint": BenchStyle("palette", _toned(_BLUEPRINT, 6, 0.7), effort=1.5, recipe={"rank": 4}),
    "posterised": BenchStyle("palette", _posterised, effort=2, recipe={"rank": 16, "alpha": 8.0}),
    "ink": BenchStyle("line", _ink, effort=5, recipe={"rank": 16}),
    "canvas": BenchStyle("texture", _canvas, effort=2, needs_reference=True),
    "frame": BenchStyle("framing", _frame, recipe={"caption_styles": ["trigger", "sentence"]}),
    "porthole": BenchStyle("framing", _porthole),
    "warm": BenchStyle("grade", _graded(_warm)),
    "teal": BenchStyle("grade", _graded(_teal), effort=2),
    "verdigris_on_call": BenchStyle("palette", _toned(_VERDIGRIS, 6, 0.8), effort=3, answers_only=True),
    "sepia_on_call": BenchStyle("framing", STYLES["sepia_western"], effort=3, answers_only=True),
}
