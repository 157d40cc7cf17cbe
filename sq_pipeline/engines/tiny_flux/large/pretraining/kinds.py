"""The kinds of picture that tiny-flux learns: how each is painted, said and told; one table for all steps."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sq_pipeline.painter.large.captions import (
    write_creature_caption,
    write_person_caption,
    write_vague_creature_caption,
    write_vague_person_caption,
)
from sq_pipeline.painter.large.creatures import paint_creature, random_creature
from sq_pipeline.painter.large.figure_words import CREATURE_WORDS, PERSON_WORDS
from sq_pipeline.painter.large.landscapes import Landscape, paint_landscape, random_landscape
from sq_pipeline.painter.large.people import paint_person, random_person
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES, write_caption, write_vague_caption

Words = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """A kind of picture. `share`: how many of all pictures; `words`: the word lists that its scenes are made of."""

    name: str
    share: float
    size_px: tuple[int, int]
    words: Mapping[str, tuple[str, ...]]
    random_scene: Callable[[random.Random], Any]
    paint: Callable[[Any, tuple[int, int]], Image.Image]
    write: Callable[[Any, random.Random, bool], str]
    write_vague: Callable[[Words, random.Random], str]

    def words_of(self, scene: Any) -> dict[str, str]:
        """The words of a scene, by list."""
        return {name: getattr(scene, name) for name in self.words}


_LANDSCAPE_WORDS = {"time": TIMES, "ground": GROUNDS, "subject": SUBJECTS, "place": PLACES}


def _write_landscape(scene: Landscape, rng: random.Random, is_short: bool) -> str:
    return write_caption(scene.time, scene.ground, scene.subject, scene.place, rng, is_short=is_short)


def _write_vague_landscape(words: Words, rng: random.Random) -> str:
    return write_vague_caption(words["time"], words["ground"], words["subject"], words["place"], rng)


KINDS = (
    Kind(
        "landscape",
        0.44,
        (256, 192),
        {name: tuple(words) for name, words in _LANDSCAPE_WORDS.items()},
        random_landscape,
        paint_landscape,
        _write_landscape,
        _write_vague_landscape,
    ),
    Kind(
        "person",
        0.34,
        (192, 256),
        {name: tuple(words) for name, words in PERSON_WORDS.items()},
        random_person,
        paint_person,
        lambda scene, rng, is_short: write_person_caption(scene, rng, is_short=is_short),
        write_vague_person_caption,
    ),
    Kind(
        "creature",
        0.22,
        (224, 224),
        {name: tuple(words) for name, words in CREATURE_WORDS.items()},
        random_creature,
        paint_creature,
        lambda scene, rng, is_short: write_creature_caption(scene, rng, is_short=is_short),
        write_vague_creature_caption,
    ),
)


def any_kind(rng: random.Random) -> Kind:
    """A kind, as often as its share says."""
    return rng.choices(KINDS, [kind.share for kind in KINDS])[0]


def caption_of(kind: Kind, scene: Any, rng: random.Random, vague_share: float, *, is_short: bool) -> tuple[str, Words]:
    """A caption, and the words that it names: "" for one that it leaves open."""
    words = kind.words_of(scene)
    if rng.random() < vague_share:
        named = {name: word if rng.random() < 0.4 else "" for name, word in words.items()}
        return kind.write_vague(named, rng), named
    return kind.write(scene, rng, is_short), words
