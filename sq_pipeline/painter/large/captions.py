"""Captions of people and creatures. Not here: how anything looks (`people`, `creatures`)."""

import random
from collections.abc import Mapping, Sequence

from sq_pipeline.painter.large.creatures import Creature
from sq_pipeline.painter.large.figure_words import CREATURE_WORDS, PERSON_WORDS
from sq_pipeline.painter.large.people import Person
from sq_pipeline.painter.vocabulary import ADJECTIVES, NOUNS, PHRASES, VERBS, invented_word

PERSON_KINDS = (
    "portrait",
    "portrait",
    "portrait",
    "close-up portrait",
    "close-up",
    "head and shoulders",
    "character portrait",
    "painted portrait",
)
CREATURE_KINDS = (
    "full body",
    "full body",
    "creature",
    "creature, full body",
    "beast",
    "beast, full body",
    "animal, full body",
    "monster",
)
ROLES = (
    "sheriff deputy smuggler queen king monk nun smith scout merchant captain sailor pilot doctor nurse thief bandit "
    "outlaw guard soldier knight wizard witch healer priest hunter ranger innkeeper barkeep miner farmer fisher baker "
    "beggar prince princess scholar clerk engineer courier gambler singer bard mayor judge spy detective mechanic "
    "hermit pilgrim widow elder apprentice"
).split()
_PEOPLE = "man woman man woman stranger person traveller figure old-man youth girl boy wanderer lady fellow".split()
_FIRST_NAMES = (
    "Ada Jonas Mira Tom Elin Rosa Boyd Hester Kai Lena Otto Vera Silas Nell Abel Ines Marek Juno Cora Finn Tamsin Rufus"
).split()
_LAST_NAMES = (
    "Holt Vane Marsh Crowe Stroud Pike Hale Brandt Okoye Ferro Lund Thorne Quill Ash Doyle Reyes Kest Moss Varga Wick"
).split()
_TRAITS = (
    "tired young old proud stern kind scarred tall weary cunning smiling grim gentle quiet lonely nameless famous "
    "suspicious brave nervous haunted cursed holy forgotten"
).split()
_SIZES = (
    "huge giant small young old starving proud fierce lonely hungry tame wild ancient cursed haunted gaunt lurking "
    "watchful quiet wounded sacred monstrous forgotten"
).split()
_DOINGS = "waits stands watches guards remembers hides looks turns listens lingers".split()
_CREATURE_DOINGS = "waits stands watches guards lurks prowls rests lingers listens hunts".split()
_PERSON_FILLERS = (
    "looking at us",
    "half smiling",
    "knows more than anyone says",
    "a face from the old town",
    "speaks little",
    "keeps a secret",
    "game character",
    "character art",
    "from the waist up",
    "calm expression",
    "owes money to everybody",
    "never seen without it",
)
_CREATURE_FILLERS = (
    "the terror of the valley",
    "game creature",
    "creature art",
    "ready to strike",
    "seen from the side",
    "nobody has tamed it",
    "side view",
    "guardian of the pass",
    "follows the travellers",
    "the last of its kind",
)
_MEANS_A_PLACE = ("shot", "background", "people", "landscape", "scenery", "settlers", "doors", "town", "place", "built")
_MEANS_A_FIGURE = set(
    "pale dark golden golden gold silver horse rider crow wolf stranger sheriff merchant bandit ghost iron bones "
    "narrow steep wide painted burnt bright".split()
)
_ADJECTIVES = [word for word in ADJECTIVES if word not in _MEANS_A_FIGURE]
_NOUNS = [word for word in NOUNS if word not in _MEANS_A_FIGURE]
_PHRASES = [phrase for phrase in PHRASES if not any(word in phrase for word in _MEANS_A_PLACE)]


def write_person_caption(person: Person, rng: random.Random, *, is_short: bool = False) -> str:
    """A caption that names every word of a person, freely phrased; a short one has no filler."""
    words = {name: getattr(person, name) for name in PERSON_WORDS}
    core = _person_core(words, rng, has_name=not is_short)
    return core if is_short else _among_filler(core, _PERSON_FILLERS, rng)


def write_creature_caption(creature: Creature, rng: random.Random, *, is_short: bool = False) -> str:
    """A caption that names every word of a creature, freely phrased; a short one has no filler."""
    words = {name: getattr(creature, name) for name in CREATURE_WORDS}
    core = _creature_core(words, rng)
    return core if is_short else _among_filler(core, _CREATURE_FILLERS, rng)


def write_vague_person_caption(words: Mapping[str, str], rng: random.Random) -> str:
    """A caption that leaves open those words of a person that are "" or missing; that it is a portrait is always told.

    With none at all it is an invented word, as a style dataset's captions hold, and the kind of picture.
    """
    if not any(words.values()):
        return f"{invented_word(rng)}, {rng.choice(PERSON_KINDS)}"
    return _person_core(words, rng, has_name=rng.random() < 0.5)


def write_vague_creature_caption(words: Mapping[str, str], rng: random.Random) -> str:
    """A caption that leaves open those words of a creature that are "" or missing; that it is a creature is told."""
    if not any(words.values()):
        return f"{invented_word(rng)}, {rng.choice(CREATURE_KINDS)}"
    return _creature_core(words, rng)


def with_article(phrase: str) -> str:
    """The phrase behind "a" or "an"; hair, skin and what comes in pairs have none."""
    if phrase.endswith(("hair", "skin", "locks", "glasses", "spectacles")):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith('one-') else 'a'} {phrase}"


def _person_core(words: Mapping[str, str], rng: random.Random, *, has_name: bool) -> str:
    told = {name: rng.choice(PERSON_WORDS[name][word]) for name, word in words.items() if word}
    scene = _scene(told, rng)
    looks = [told[name] for name in ("hair", "headwear", "garment", "face", "skin") if name in told]
    rng.shuffle(looks)
    who = rng.choice(_PEOPLE if rng.random() < 0.6 else ROLES).replace("-", " ")
    kind = rng.choice(PERSON_KINDS)
    name = _name(rng) if has_name else ""
    if rng.random() < 0.25:
        return _tagged([who, *looks, *scene], kind, name, rng)
    described = _described(who, looks, told.get("garment", ""), rng)
    place = " ".join(scene)
    return rng.choice(
        (
            _joined([f"{kind} of {described}", place], name),
            _joined([name, described, place, kind]),
            _joined([f"{kind}: {described}", place, name]),
            _joined([place, described, kind], name),
            _joined([f"{described} {rng.choice(_DOINGS)} {place}" if place else described, kind], name),
        )
    )


def _creature_core(words: Mapping[str, str], rng: random.Random) -> str:
    told = {name: rng.choice(CREATURE_WORDS[name][word]) for name, word in words.items() if word}
    scene = _scene(told, rng)
    kind = rng.choice(CREATURE_KINDS)
    name = invented_word(rng).capitalize() if rng.random() < 0.3 else ""
    size = rng.choice(_SIZES) if rng.random() < 0.6 else ""
    coat, animal = told.get("coat", ""), told.get("species") or rng.choice(("creature", "beast", "animal"))
    if rng.random() < 0.25:
        return _tagged([" ".join(filter(None, (size, coat, animal))), *scene], kind, name, rng)
    order = (size, coat, animal) if rng.random() < 0.8 else (coat, size, animal)
    described = with_article(" ".join(filter(None, order)))
    place = " ".join(scene)
    return rng.choice(
        (
            _joined([described, place, kind], name),
            _joined([f"{kind}: {described}", place, name]),
            _joined([place, described, kind], name),
            _joined([f"{described} {rng.choice(_CREATURE_DOINGS)} {place}" if place else described, kind], name),
            _joined([kind, described, place, name]),
        )
    )


def _scene(told: Mapping[str, str], rng: random.Random) -> list[str]:
    time, ground = told.get("time"), told.get("ground")
    parts = [
        ground and f"{rng.choice(('in the', 'on the', 'by the', 'before the', 'on'))} {ground}",
        time and f"{rng.choice(('at', 'in', 'at', 'by'))} {time}",
    ]
    rng.shuffle(parts)
    return [part for part in parts if part]


def _described(who: str, looks: Sequence[str], garment: str, rng: random.Random) -> str:
    before = [look for look in looks if look.endswith(("ed", "shaven"))]
    after = [
        f"{rng.choice(('in', 'wearing')) if look == garment else 'with'} {with_article(look)}"
        for look in looks
        if look not in before
    ]
    trait = [rng.choice(_TRAITS)] if rng.random() < 0.4 else []
    after_words = (
        ", ".join(after) if rng.random() < 0.3 else " and ".join(filter(None, (", ".join(after[:-1]), *after[-1:])))
    )
    return " ".join(filter(None, (with_article(" ".join([*trait, *before, who])), after_words)))


def _tagged(tags: Sequence[str], kind: str, name: str, rng: random.Random) -> str:
    shuffled = [*tags, kind]
    rng.shuffle(shuffled)
    return _joined(shuffled, name)


def _joined(parts: Sequence[str], title: str = "") -> str:
    text = ", ".join(filter(None, parts))
    return f"{title}: {text}" if title else text


def _name(rng: random.Random) -> str:
    if rng.random() < 0.35:
        return ""
    first = rng.choice(_FIRST_NAMES) if rng.random() < 0.6 else invented_word(rng).capitalize()
    last = rng.choice(("", rng.choice(_LAST_NAMES), invented_word(rng).capitalize()))
    role = rng.choice(ROLES).capitalize() if rng.random() < 0.6 else ""
    return " ".join(filter(None, (role, first, last)))


def _among_filler(core: str, fillers: Sequence[str], rng: random.Random) -> str:
    before = [invented_word(rng)] if rng.random() < 0.25 else []
    after: list[str] = []
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        filler = rng.choice(
            (
                rng.choice(fillers),
                rng.choice(_PHRASES),
                f"{rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)} {rng.choice(VERBS)}",
            )
        )
        (after if rng.random() < 0.8 else before).append(filler)
    return ", ".join([*before, core, *after])
