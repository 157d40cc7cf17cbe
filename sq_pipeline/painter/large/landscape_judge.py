"""A nearest-neighbour judge over the painter's own landscapes: which words does a picture show?

Here: features, references, votes. It never sees the model that it judges.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sq_pipeline.painter.large.landscapes import Landscape, paint_landscape
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES

Array = npt.NDArray[np.float32]
WORDS = ("time", "ground", "place", "subject")
_REFERENCE_PX = (128, 96)
_COLUMNS, _ROWS = 48, 36
_SHIFTS = range(-3, 4)
_SEEN_ROWS = slice(8, 31)
_WINDOWS: Mapping[str, slice] = {"left": slice(3, 23), "centre": slice(14, 34), "right": slice(25, 45)}
_MOST = 0.35


@dataclass(frozen=True)
class Verdict:
    """What the nearest reference pictures show."""

    time: str
    ground: str
    place: str
    subject: str


def landscape_features(pixels: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
    """Each row's median colour, flattened, and how each of 36×48 pixels differs from its row's.

    Rows of sky and ground are nearly even, so that the first tells time and ground, the second what stands there.
    `pixels`: `(height, width, 3)` uint8, of the usual 4:3 shape.
    """
    small = Image.fromarray(pixels).resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
    colours = np.asarray(small, dtype=np.float32) / np.float32(255)
    rows = np.median(colours, axis=1, keepdims=True).astype(np.float32)
    return rows.ravel(), np.clip(colours - rows, -_MOST, _MOST)


class LandscapeJudge:
    """References: every combination of the four words, `copies` times with seeds of its own."""

    def __init__(self, copies: int = 6, seed: int = 9_001) -> None:
        rng = random.Random(seed)
        self._words: list[tuple[str, str]] = []
        rows: list[Array] = []
        windows: dict[tuple[str, str], list[Array]] = {}
        of_one_ground = [subject for subject in SUBJECTS for _ in range(copies)]
        self._subjects = of_one_ground * len(GROUNDS)
        for time in TIMES:
            for ground in GROUNDS:
                for place in PLACES:
                    for subject in of_one_ground:
                        scene = Landscape(time, ground, subject, place, rng.getrandbits(40))
                        of_rows, differences = landscape_features(np.asarray(paint_landscape(scene, _REFERENCE_PX)))
                        rows.append(of_rows)
                        self._words.append((time, ground))
                        seen = differences[_SEEN_ROWS, _WINDOWS[place]].ravel()
                        windows.setdefault((time, place), []).append(seen)
        self._rows = np.stack(rows)
        self._windows = {words: np.stack(seen) for words, seen in windows.items()}

    def name(self, pixels: npt.NDArray[np.uint8], neighbours: int = 3) -> Verdict:
        """The words that most of the nearest references show; the nearest decides a tie."""
        rows, differences = landscape_features(pixels)
        order = np.argsort(((self._rows - rows) ** 2).sum(1))[:neighbours]
        time = _vote([self._words[index][0] for index in order])
        ground = _vote([self._words[index][1] for index in order])
        padded = np.pad(differences, ((_SHIFTS.stop, _SHIFTS.stop), (_SHIFTS.stop, _SHIFTS.stop), (0, 0)), mode="edge")
        shifted = [
            padded[_SHIFTS.stop + down :, _SHIFTS.stop + across :][:_ROWS, :_COLUMNS]
            for down in _SHIFTS
            for across in _SHIFTS
        ]
        # a window's energy left out, bare ground costs as much as a wrong subject: this names the place
        scores: dict[str, Array] = {}
        distances: dict[str, Array] = {}
        for place, window in _WINDOWS.items():
            own = np.stack([moved[_SEEN_ROWS, window].ravel() for moved in shifted])
            references = self._windows[time, place]
            unlike = (references**2).sum(1)[:, None] - 2 * references @ own.T
            scores[place] = unlike.min(1)
            distances[place] = (unlike + (own**2).sum(1)[None]).min(1)
        place = min(scores, key=lambda name: float(scores[name].min()))
        nearest = np.argsort(distances[place])[:neighbours]
        subject = _vote([self._subjects[index] for index in nearest])
        return Verdict(time, ground, place, subject)


def _vote(words: Sequence[str]) -> str:
    counts = Counter(words)
    best = max(counts.values())
    return next(word for word in words if counts[word] == best)
