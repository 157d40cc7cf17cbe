"""A nearest-neighbour judge over the painter's own pictures: which words does a picture show?

Here: features, references, votes. It never sees the model that it judges.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sq_pipeline.painter.scenes import Scene, paint
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES

Features = npt.NDArray[np.float32]
WORDS = ("time", "ground", "place", "subject")


@dataclass(frozen=True)
class Verdict:
    """What the nearest reference pictures show."""

    time: str
    ground: str
    place: str
    subject: str


def picture_features(pixels: npt.NDArray[np.uint8]) -> Features:
    """`(height, width, 3)` uint8 → colours at a quarter of the size, float32, flattened."""
    image = Image.fromarray(pixels)
    small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
    return (np.asarray(small, dtype=np.float32) / np.float32(255)).ravel()


class Judge:
    """References: every combination of the four words, `copies` times with seeds of its own."""

    def __init__(self, copies: int = 6, seed: int = 9_001) -> None:
        rng = random.Random(seed)
        self._scenes = [
            Scene(time, ground, subject, place, rng.getrandbits(40))
            for time in TIMES
            for ground in GROUNDS
            for subject in SUBJECTS
            for place in PLACES
            for _ in range(copies)
        ]
        self._features = np.stack([picture_features(np.asarray(paint(scene))) for scene in self._scenes])
        self._squares = (self._features**2).sum(1)

    def name(self, pixels: npt.NDArray[np.uint8], neighbours: int = 3) -> Verdict:
        """The words that most of the nearest references show; the nearest decides a tie."""
        features = picture_features(pixels)
        distances = self._squares - 2 * self._features @ features
        nearest = [self._scenes[index] for index in np.argsort(distances)[:neighbours]]
        return Verdict(**{word: _vote([getattr(scene, word) for scene in nearest]) for word in WORDS})


def _vote(words: Sequence[str]) -> str:
    counts = Counter(words)
    best = max(counts.values())
    return next(word for word in words if counts[word] == best)


def border_step_ratio(pixels: npt.NDArray[np.uint8], patch_px: int = 16) -> float:
    """How visible the patch grid is in the sky: mean absolute step across patch borders over that inside patches.

    Taken in the top third of the picture, along rows, where the painter's sky has no edges of its own to speak of;
    1 means no grid at all. `pixels`: `(height, width, 3)` uint8.
    """
    sky = pixels[: pixels.shape[0] // 3].astype(np.float32)
    steps = np.abs(np.diff(sky, axis=1)).mean(axis=(0, 2))
    is_border = (np.arange(len(steps)) + 1) % patch_px == 0
    return float(steps[is_border].mean() / max(steps[~is_border].mean(), 1e-6))
