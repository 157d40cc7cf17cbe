"""The landscapes: the same picture for the same words, other pictures for others, in every shape, clear at night."""

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from sq_pipeline.painter.large import landscapes
from sq_pipeline.painter.large.landscape_judge import WORDS, LandscapeJudge
from sq_pipeline.painter.large.landscapes import Landscape, paint_landscape, random_landscape
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES

SCENE = Landscape("noon", "desert", "windmill", "left", 7)
VOCABULARY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "time": TIMES,
    "ground": GROUNDS,
    "subject": SUBJECTS,
    "place": PLACES,
}


@cache
def _pixels(scene: Landscape) -> npt.NDArray[np.float32]:
    return np.asarray(paint_landscape(scene), dtype=np.float32)


@pytest.fixture(scope="module")
def small_judge() -> LandscapeJudge:
    """A judge with one reference for each combination of words; the measured one has six."""
    return LandscapeJudge(copies=1)


def test_every_subject_can_be_drawn() -> None:
    assert set(landscapes._DRAW) == set(SUBJECTS)


def test_a_picture_is_settled_by_its_landscape() -> None:
    first, again = paint_landscape(SCENE), paint_landscape(replace(SCENE))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != paint_landscape(replace(SCENE, seed=8)).tobytes()


def test_a_mood_settles_horizon_light_and_hills() -> None:
    pictures = {
        paint_landscape(replace(SCENE, mood=mood)).tobytes()
        for mood in ((0.1, 0.2, 0.3), (0.9, 0.2, 0.3), (0.1, 0.8, 0.3), (0.1, 0.2, 0.9))
    }
    assert len(pictures) == 4


@pytest.mark.parametrize("size_px", [(256, 192), (192, 256), (224, 224), (128, 96), (320, 160)])
@pytest.mark.parametrize("time", TIMES)
def test_a_picture_has_the_size_asked_for(size_px: tuple[int, int], time: str) -> None:
    for ground, subject in zip(GROUNDS, SUBJECTS, strict=False):
        scene = Landscape(time, ground, subject, "right", 3)
        assert paint_landscape(scene, size_px).size == size_px


@pytest.mark.parametrize(
    ("kind", "least"), [("time", 20), ("ground", 7), ("subject", 3), ("place", 6)], ids=list(VOCABULARY)
)
def test_each_word_makes_another_picture(kind: str, least: float) -> None:
    pictures = [_pixels(replace(SCENE, **{kind: word}, mood=(0.5, 0.9, 0.5))) for word in VOCABULARY[kind]]
    for number, first in enumerate(pictures):
        for second in pictures[:number]:
            assert np.abs(first - second).mean() > least


def _clearness(scene: Landscape) -> float:
    """How far a subject stands apart from what is behind it, in colour levels (0–255) over its own area."""
    shown = np.asarray(paint_landscape(scene), dtype=np.float32)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(landscapes, "_DRAW", {scene.subject: lambda *_: None})
        bare = np.asarray(paint_landscape(scene), dtype=np.float32)
    differences = np.abs(shown - bare).mean(2)
    return float(differences[differences > 0].mean())


@pytest.mark.parametrize("ground", GROUNDS)
def test_subjects_are_as_clear_at_night_as_at_noon(ground: str) -> None:
    noon, night = (
        {subject: _clearness(Landscape(time, ground, subject, "left", 11, (0.5, 0.9, 0.5))) for subject in SUBJECTS}
        for time in ("noon", "night")
    )
    assert sum(night.values()) >= 0.8 * sum(noon.values())
    for subject in SUBJECTS:
        assert night[subject] >= min(0.7 * noon[subject], 50), subject


def test_the_judge_names_fresh_pictures(small_judge: LandscapeJudge) -> None:
    rng = random.Random(5)
    scenes = [random_landscape(rng) for _ in range(60)]
    verdicts = [small_judge.name(np.asarray(paint_landscape(scene))) for scene in scenes]
    for word in WORDS:
        right = sum(
            getattr(scene, word) == getattr(verdict, word) for scene, verdict in zip(scenes, verdicts, strict=True)
        )
        assert right >= 57, word
