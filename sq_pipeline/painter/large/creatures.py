"""Creatures, one a picture, whole, in the open air. Not here: their shapes (`creature_shapes`), the words."""

import random
from dataclasses import dataclass

from PIL import Image

from sq_pipeline.painter.large.backdrop import ground_shadow, open_air
from sq_pipeline.painter.large.canvas import SUPERSAMPLING
from sq_pipeline.painter.large.creature_shapes import COAT, DRAW
from sq_pipeline.painter.large.figure_words import CREATURE_WORDS
from sq_pipeline.painter.large.pen import Pen, in_clear_light

CREATURE_SIZE_PX = (224, 224)


@dataclass(frozen=True)
class Creature:
    """Four words and a seed; the seed settles everything that the words leave open.

    `mood` settles three of these things in its place, each 0–1: the height of the horizon, where the light stands in
    the sky, the shape of the far hills.
    """

    species: str
    coat: str
    time: str
    ground: str
    seed: int
    mood: tuple[float, float, float] | None = None


def random_creature(rng: random.Random) -> Creature:
    """A creature with each word drawn evenly."""
    words = {name: rng.choice(list(group)) for name, group in CREATURE_WORDS.items()}
    return Creature(**words, seed=rng.getrandbits(40), mood=None)


def paint_creature(scene: Creature, size_px: tuple[int, int] = CREATURE_SIZE_PX) -> Image.Image:
    """The creature's picture, RGB; equal for equal scenes."""
    rng = random.Random(scene.seed)
    by_seed = (rng.random(), rng.random(), rng.random())
    mood = scene.mood or by_seed
    canvas = open_air(size_px, scene.time, scene.ground, rng, mood, 0.55 + 0.1 * mood[0])

    width, height = size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING
    reach = min(width, height)
    scale = reach * rng.uniform(0.0078, 0.0084)
    x = width * 0.5 + reach * rng.uniform(-0.02, 0.02)
    base = height / 2 + reach * rng.uniform(0.37, 0.39)
    side = rng.choice((-1, 1))
    ground_shadow(canvas, x, base, 40 * scale)
    DRAW[scene.species](Pen(in_clear_light(canvas), x, base, scale, side), COAT[scene.coat])
    return canvas.picture()
