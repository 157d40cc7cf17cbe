"""People and creatures: their pictures, their captions, and the judges over them."""

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from sq_pipeline.painter.large.captions import (
    CREATURE_KINDS,
    PERSON_KINDS,
    with_article,
    write_creature_caption,
    write_person_caption,
    write_vague_creature_caption,
    write_vague_person_caption,
)
from sq_pipeline.painter.large.creature_shapes import COAT, DRAW
from sq_pipeline.painter.large.creatures import Creature, paint_creature, random_creature
from sq_pipeline.painter.large.figure_judge import CreatureJudge, PersonJudge
from sq_pipeline.painter.large.figure_words import CREATURE_WORDS, PERSON_WORDS, Words
from sq_pipeline.painter.large.people import Person, paint_person, random_person
from sq_pipeline.painter.large.people_parts import CLOTH, FACES, HAIR, HEADWEARS, SKIN

PERSON = Person("red", "hat", "blue", "bearded", "pale", "noon", "desert", seed=7)
CREATURE = Creature("wolf", "black", "night", "snow", seed=7)
EVERY_PERSON_WORD = [(name, word) for name, group in PERSON_WORDS.items() for word in group]
EVERY_CREATURE_WORD = [(name, word) for name, group in CREATURE_WORDS.items() for word in group]
SIZES_PX = [(192, 256), (224, 224), (96, 128), (256, 192), (64, 64)]


def _person_pixels(person: Person) -> npt.NDArray[np.int16]:
    return np.asarray(paint_person(person), dtype=np.int16)


def _creature_pixels(creature: Creature) -> npt.NDArray[np.int16]:
    return np.asarray(paint_creature(creature), dtype=np.int16)


def _is_told(word: str, group: Mapping[str, tuple[str, ...]], caption: str) -> bool:
    return any(synonym in caption for synonym in group[word])


# --- pictures


def test_every_word_has_its_drawing() -> None:
    drawings = {"hair": HAIR, "headwear": HEADWEARS, "garment": CLOTH, "face": FACES, "skin": SKIN}
    for name, table in drawings.items():
        assert set(table) == set(PERSON_WORDS[name])
    assert set(DRAW) == set(CREATURE_WORDS["species"])
    assert set(COAT) == set(CREATURE_WORDS["coat"])


def test_equal_scenes_give_equal_pictures() -> None:
    first_person, second_person = (random_person(random.Random(3)) for _ in range(2))
    assert first_person == second_person
    assert paint_person(first_person).tobytes() == paint_person(second_person).tobytes()
    first_creature, second_creature = (random_creature(random.Random(3)) for _ in range(2))
    assert first_creature == second_creature
    assert paint_creature(first_creature).tobytes() == paint_creature(second_creature).tobytes()


@pytest.mark.parametrize("size_px", SIZES_PX, ids=str)
def test_a_picture_is_rgb_and_as_large_as_asked(size_px: tuple[int, int]) -> None:
    for image in (paint_person(PERSON, size_px), paint_creature(CREATURE, size_px)):
        assert image.size == size_px
        assert image.mode == "RGB"


@pytest.mark.parametrize(("name", "word"), EVERY_PERSON_WORD)
def test_each_word_of_a_person_changes_the_picture(name: str, word: str) -> None:
    other = replace(PERSON, **{name: word})
    if other == PERSON:
        return
    changed = np.abs(_person_pixels(other) - _person_pixels(PERSON)).max(axis=2) > 24
    assert changed.mean() > 0.005


@pytest.mark.parametrize(("name", "word"), EVERY_CREATURE_WORD)
def test_each_word_of_a_creature_changes_the_picture(name: str, word: str) -> None:
    other = replace(CREATURE, **{name: word})
    if other == CREATURE:
        return
    changed = np.abs(_creature_pixels(other) - _creature_pixels(CREATURE)).max(axis=2) > 24
    assert changed.mean() > 0.05


def test_seeds_give_pictures_of_their_own() -> None:
    assert len({paint_person(replace(PERSON, seed=seed)).tobytes() for seed in range(12)}) == 12
    assert len({paint_creature(replace(CREATURE, seed=seed)).tobytes() for seed in range(12)}) == 12


def test_a_mood_settles_the_horizon() -> None:
    moods = [(level, 0.5, 0.5) for level in (0.0, 1.0, 0.0)]
    people = [paint_person(replace(PERSON, mood=mood)).tobytes() for mood in moods]
    creatures = [paint_creature(replace(CREATURE, mood=mood)).tobytes() for mood in moods]
    for low, high, again in (people, creatures):
        assert low != high
        assert low == again


def test_a_figure_is_read_at_night_as_at_noon() -> None:
    """The middle of the picture, where the coat is, loses at most a quarter of its light."""
    for seed in range(4):
        noon, night = (
            _person_pixels(replace(PERSON, time=time, seed=seed))[200:, 80:112].mean() for time in ("noon", "night")
        )
        assert night > 0.75 * noon


# --- captions


@pytest.mark.parametrize("words", [PERSON_WORDS, CREATURE_WORDS], ids=["person", "creature"])
def test_a_synonym_belongs_to_one_word_of_its_list(words: Mapping[str, Words]) -> None:
    for group in words.values():
        synonyms = [synonym for synonyms in group.values() for synonym in synonyms]
        assert len(synonyms) == len(set(synonyms))


def test_the_lists_of_one_kind_of_picture_share_no_synonym() -> None:
    for words in (PERSON_WORDS, CREATURE_WORDS):
        synonyms = [synonym for group in words.values() for synonyms in group.values() for synonym in synonyms]
        assert len(synonyms) == len(set(synonyms))


@pytest.mark.parametrize("is_short", [False, True])
def test_a_caption_names_every_word_and_the_kind_of_picture(is_short: bool) -> None:
    rng = random.Random(5)
    for _ in range(300):
        person, creature = random_person(rng), random_creature(rng)
        told = write_person_caption(person, rng, is_short=is_short)
        assert all(_is_told(getattr(person, name), group, told) for name, group in PERSON_WORDS.items()), told
        assert any(kind in told for kind in PERSON_KINDS)
        told = write_creature_caption(creature, rng, is_short=is_short)
        assert all(_is_told(getattr(creature, name), group, told) for name, group in CREATURE_WORDS.items()), told
        assert any(kind in told for kind in CREATURE_KINDS)


def test_captions_are_freely_phrased() -> None:
    assert len({write_person_caption(PERSON, random.Random(seed)) for seed in range(60)}) > 55
    assert len({write_creature_caption(CREATURE, random.Random(seed)) for seed in range(60)}) > 55


def test_a_vague_caption_names_what_it_is_given_and_the_kind_of_picture() -> None:
    rng = random.Random(6)
    for _ in range(60):
        told = write_vague_person_caption({"hair": "red", "headwear": "", "garment": "blue"}, rng)
        assert _is_told("red", PERSON_WORDS["hair"], told)
        assert _is_told("blue", PERSON_WORDS["garment"], told)
        assert not _is_told("noon", PERSON_WORDS["time"], told)
        assert any(kind in told for kind in PERSON_KINDS)
        told = write_vague_creature_caption({"species": "dragon", "coat": ""}, rng)
        assert _is_told("dragon", CREATURE_WORDS["species"], told)
        assert any(kind in told for kind in CREATURE_KINDS)
        told = write_vague_person_caption({}, rng)
        assert any(kind in told for kind in PERSON_KINDS)
        told = write_vague_creature_caption({"coat": ""}, rng)
        assert any(kind in told for kind in CREATURE_KINDS)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red hair", "red hair"),
        ("round glasses", "round glasses"),
        ("iron helmet", "an iron helmet"),
        ("one-eyed man", "a one-eyed man"),
        ("hood", "a hood"),
    ],
)
def test_a_phrase_gets_its_article(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected


# --- judges


def test_the_person_judge_names_pictures_of_the_painter() -> None:
    judge, rng = PersonJudge(count=400), random.Random(8)
    people = [random_person(rng) for _ in range(30)]
    named = [judge.name(np.asarray(paint_person(person))) for person in people]
    for name in ("hair", "headwear", "garment", "time"):
        right = [words[name] == getattr(person, name) for words, person in zip(named, people, strict=True)]
        assert np.mean(right) > 0.9, name


def test_the_creature_judge_names_pictures_of_the_painter() -> None:
    judge, rng = CreatureJudge(count=300), random.Random(9)
    creatures = [random_creature(rng) for _ in range(30)]
    named = [judge.name(np.asarray(paint_creature(creature))) for creature in creatures]
    for name in CREATURE_WORDS:
        right = [words[name] == getattr(creature, name) for words, creature in zip(named, creatures, strict=True)]
        assert np.mean(right) > 0.9, name
