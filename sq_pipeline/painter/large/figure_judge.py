"""Which words does a picture of a person or a creature show? Ridge classifiers over the painter's own pictures.

Here: features, references, one closed-form fit a word. It never sees the model that it judges.
"""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from sq_pipeline.painter.large.creatures import CREATURE_SIZE_PX, paint_creature, random_creature
from sq_pipeline.painter.large.figure_words import CREATURE_WORDS, PERSON_WORDS, Words
from sq_pipeline.painter.large.people import PERSON_SIZE_PX, paint_person, random_person

Features = npt.NDArray[np.float32]
_CELL_PX = 8
_MOST_BLUR_PX, _MOST_SHIFT_PX = 2.0, 3
_RIDGE = 0.004


def figure_features(image: Image.Image, size_px: tuple[int, int]) -> Features:
    """Colours at an eighth of `size_px`, and their products pairwise: a colour between two others is told by these."""
    cells = (size_px[0] // _CELL_PX, size_px[1] // _CELL_PX)
    colours = np.asarray(image.resize(cells, Image.Resampling.BOX), dtype=np.float32) / np.float32(127.5) - 1
    red, green, blue = np.moveaxis(colours, -1, 0)
    products = (red * red, green * green, blue * blue, red * green, green * blue, blue * red)
    return np.stack([red, green, blue, *products]).ravel()


class FigureJudge:
    """One linear classifier a word list, fitted to `count` pictures, each a little blurred and moved."""

    def __init__(
        self,
        words: Mapping[str, Words],
        size_px: tuple[int, int],
        paint_random: Callable[[random.Random], tuple[Any, Image.Image]],
        count: int,
        seed: int,
    ) -> None:
        self._size_px = size_px
        self._groups = {name: list(group) for name, group in words.items()}
        rng = random.Random(seed)
        scenes, rows = [], []
        for _ in range(count):
            scene, image = paint_random(rng)
            scenes.append(scene)
            rows.append(figure_features(_distorted(image, rng), size_px))
        features = np.stack(rows)
        self._mean = features.mean(0)
        features -= self._mean
        targets = np.concatenate(
            [
                np.array([[getattr(scene, name) == word for word in group] for scene in scenes], dtype=np.float32)
                for name, group in self._groups.items()
            ],
            axis=1,
        )
        self._offsets = targets.mean(0)
        kernel = features @ features.T
        kernel[np.diag_indices(count)] += _RIDGE * np.trace(kernel) / count
        self._weights = features.T @ np.linalg.solve(kernel, targets - self._offsets)

    def name(self, pixels: npt.NDArray[np.uint8]) -> dict[str, str]:
        """The word of each list that the picture, `(height, width, 3)` uint8, shows most."""
        features = figure_features(Image.fromarray(pixels), self._size_px)
        scores = (features - self._mean) @ self._weights + self._offsets
        named: dict[str, str] = {}
        start = 0
        for name, group in self._groups.items():
            named[name] = group[int(np.argmax(scores[start : start + len(group)]))]
            start += len(group)
        return named


class PersonJudge(FigureJudge):
    """Names the seven words of a person's picture."""

    def __init__(self, count: int = 2400, seed: int = 9_002) -> None:
        super().__init__(PERSON_WORDS, PERSON_SIZE_PX, _paint_random_person, count, seed)


class CreatureJudge(FigureJudge):
    """Names the four words of a creature's picture."""

    def __init__(self, count: int = 1600, seed: int = 9_003) -> None:
        super().__init__(CREATURE_WORDS, CREATURE_SIZE_PX, _paint_random_creature, count, seed)


def _paint_random_person(rng: random.Random) -> tuple[Any, Image.Image]:
    person = random_person(rng)
    return person, paint_person(person)


def _paint_random_creature(rng: random.Random) -> tuple[Any, Image.Image]:
    creature = random_creature(rng)
    return creature, paint_creature(creature)


def _distorted(image: Image.Image, rng: random.Random) -> Image.Image:
    blurred = image.filter(ImageFilter.BoxBlur(rng.uniform(0, _MOST_BLUR_PX)))
    across, down = (rng.randint(-_MOST_SHIFT_PX, _MOST_SHIFT_PX) for _ in range(2))
    return ImageChops.offset(blurred, across, down)
