"""People from the waist up, in front of the open air. Not here: the parts of a person (`people_parts`), the words."""

import random
from dataclasses import dataclass

from PIL import Image

from sq_pipeline.painter.large import people_parts as parts
from sq_pipeline.painter.large.backdrop import open_air
from sq_pipeline.painter.large.canvas import SUPERSAMPLING
from sq_pipeline.painter.large.figure_words import PERSON_WORDS
from sq_pipeline.painter.large.pen import Pen, in_clear_light

PERSON_SIZE_PX = (192, 256)


@dataclass(frozen=True)
class Person:
    """Seven words and a seed; the seed settles everything that the words leave open.

    `mood` settles three of these things in its place, each 0–1: the height of the horizon, where the light stands in
    the sky, the shape of the far hills.
    """

    hair: str
    headwear: str
    garment: str
    face: str
    skin: str
    time: str
    ground: str
    seed: int
    mood: tuple[float, float, float] | None = None


def random_person(rng: random.Random) -> Person:
    """A person with each word drawn evenly."""
    words = {name: rng.choice(list(group)) for name, group in PERSON_WORDS.items()}
    return Person(**words, seed=rng.getrandbits(40), mood=None)


def paint_person(scene: Person, size_px: tuple[int, int] = PERSON_SIZE_PX) -> Image.Image:
    """The person's picture, RGB; equal for equal scenes."""
    rng = random.Random(scene.seed)
    by_seed = (rng.random(), rng.random(), rng.random())
    mood = scene.mood or by_seed
    canvas = open_air(size_px, scene.time, scene.ground, rng, mood, 0.55 + 0.1 * mood[0])

    width, height = size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING
    reach = min(height, width * 4 / 3)
    scale = reach * rng.uniform(0.116, 0.126)
    x = width * 0.5 + reach * rng.uniform(-0.025, 0.025)
    y = height * 0.41 + reach * rng.uniform(-0.012, 0.012)
    pen = Pen(in_clear_light(canvas), x, y, scale)
    turn = rng.choice((-1, 1)) * rng.uniform(0.05, 0.12)
    build = rng.uniform(0.93, 1.05)
    hair, skin, cloth = parts.HAIR[scene.hair], parts.SKIN[scene.skin], parts.CLOTH[scene.garment]

    parts.BEHIND.get(scene.headwear, parts.hair_behind)(pen, hair, cloth)
    bottom = (height - y) / scale + 0.4
    parts.body(pen, cloth, build, bottom)
    parts.head(pen, skin)
    parts.features(pen, skin, hair, turn)
    parts.FACES[scene.face](pen, hair, turn)
    parts.locks(pen, hair)
    parts.HEADWEARS[scene.headwear](pen, hair, cloth)
    return canvas.picture()
