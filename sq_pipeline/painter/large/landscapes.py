"""A landscape of four words and how it is painted. Not here: sky and ground (`backdrop`), the subjects' shapes."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from sq_pipeline.painter.large import subjects_built, subjects_grown
from sq_pipeline.painter.large.backdrop import ground_shadow, open_air
from sq_pipeline.painter.large.canvas import Canvas
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES

SIZE_PX = (256, 192)
_DRAW: Mapping[str, subjects_built.DrawSubject] = {**subjects_built.DRAW, **subjects_grown.DRAW}
_PLACE_X = {"left": 0.23, "centre": 0.5, "right": 0.77}
_HALF_WIDTHS = {"mesa": 0.6, "mountain": 0.62, "arch": 0.58, "ship": 0.54, "wagon": 0.52, "cabin": 0.5, "church": 0.48}


@dataclass(frozen=True)
class Landscape:
    """Four words and a seed; the seed settles everything that the words leave open.

    `mood` settles three of these things in its place, each 0–1: the height of the horizon, where the light stands in
    the sky, the shape of the far hills.
    """

    time: str
    ground: str
    subject: str
    place: str
    seed: int
    mood: tuple[float, float, float] | None = None


def random_landscape(rng: random.Random) -> Landscape:
    """A landscape with each word drawn evenly."""
    return Landscape(
        time=rng.choice(list(TIMES)),
        ground=rng.choice(list(GROUNDS)),
        subject=rng.choice(list(SUBJECTS)),
        place=rng.choice(list(PLACES)),
        seed=rng.getrandbits(40),
    )


def paint_landscape(scene: Landscape, size_px: tuple[int, int] = SIZE_PX) -> Image.Image:
    """The landscape's picture, RGB, `size_px` wide and high; equal for equal scenes."""
    rng = random.Random(scene.seed)
    by_seed = (rng.random(), rng.random(), rng.random())
    mood = scene.mood or by_seed
    horizon = 0.60 + 0.08 * mood[0]
    canvas = open_air(size_px, scene.time, scene.ground, rng, mood, horizon)
    width, height = canvas.image.size
    x = (_PLACE_X[scene.place] + rng.uniform(-0.03, 0.03)) * width
    size = rng.uniform(0.47, 0.53) * min(height, width * 0.84)
    base = horizon * height + rng.uniform(0.07, 0.11) * min(height, width)
    half_width = size * _HALF_WIDTHS.get(scene.subject, 0.32)
    room = half_width * 1.1 + canvas.unit
    x = min(max(x, room), width - room)
    if scene.ground == "lake" and scene.subject != "ship":
        _islet(canvas, x, base, half_width)
    ground_shadow(canvas, x, base, half_width)
    _DRAW[scene.subject](canvas, x, base, size, rng)
    if scene.ground == "lake" and scene.subject == "ship":
        _foam(canvas, x, base, half_width)
    return canvas.picture()


def _islet(canvas: Canvas, x: float, base: float, half_width: float) -> None:
    u = canvas.unit
    half, flat = half_width * 1.2 + 4 * u, 4.2 * u
    canvas.oval(x, base + 2.2 * u, half + 2 * u, flat + u, canvas.lit((206, 236, 246), 0.9), outline=0)
    canvas.oval(x, base + 1.2 * u, half, flat, canvas.lit((236, 204, 136), 0.9))
    canvas.oval(x, base + 0.2 * u, half * 0.9, flat * 0.7, canvas.lit((112, 178, 74), 0.9), outline=0)


def _foam(canvas: Canvas, x: float, base: float, half_width: float) -> None:
    u = canvas.unit
    for number in range(7):
        across = (number / 3 - 1) * half_width * 1.0
        canvas.oval(x + across, base + 0.6 * u, 4.4 * u, 1.3 * u, canvas.lit((226, 244, 252)), outline=0)
