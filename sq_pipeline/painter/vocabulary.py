"""The words that tiny-flux understands, and captions of them. Not here: how anything looks (`scenes`, `subjects`)."""

import random
from collections.abc import Mapping

TIMES: Mapping[str, tuple[str, ...]] = {
    "dawn": ("dawn", "sunrise", "first light", "daybreak"),
    "noon": ("noon", "midday", "broad daylight", "high noon"),
    "dusk": ("dusk", "sunset", "nightfall", "evening"),
    "night": ("night", "midnight", "moonlight", "starlight"),
}
GROUNDS: Mapping[str, tuple[str, ...]] = {
    "desert": ("desert", "sand", "dunes", "sandy desert"),
    "meadow": ("meadow", "grass", "grassland", "prairie"),
    "snow": ("snow", "ice", "snowfield", "frozen plain"),
    "lake": ("lake", "water", "sea", "harbour"),
    "rock": ("rock", "stone", "canyon", "rocky ground"),
}
SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "mesa": ("mesa", "butte", "table mountain"),
    "mountain": ("mountain", "peak", "snowy peak"),
    "windmill": ("windmill", "wind pump", "mill"),
    "tower": ("tower", "watchtower", "stone tower"),
    "pine": ("pine", "pine tree", "fir tree"),
    "cactus": ("cactus", "saguaro", "tall cactus"),
    "cabin": ("cabin", "hut", "log cabin"),
    "tent": ("tent", "tipi", "camp tent"),
    "ship": ("ship", "sailing ship", "boat"),
    "church": ("church", "chapel", "old church"),
    "arch": ("arch", "stone arch", "natural arch"),
    "wagon": ("wagon", "covered wagon", "cart"),
}
PLACES: Mapping[str, tuple[str, ...]] = {
    "left": ("on the left", "to the left", "left", "at the left side"),
    "centre": ("in the centre", "in the middle", "centre", "in the center"),
    "right": ("on the right", "to the right", "right", "at the right side"),
}

ADJECTIVES = (
    "lonely old weathered quiet crooked abandoned tall small wide distant silent broken dusty pale dark bright warm "
    "cold forgotten ancient painted empty busy windswept sun-bleached rusted wooden iron haunted sleepy proud leaning "
    "cracked "
    "faded holy cursed golden hidden narrow steep hollow burnt half-buried lost"
).split()
NOUNS = (
    "road trail rope lantern horse rider bell fence smoke dust crow wolf stranger sheriff merchant bandit ghost river "
    "bridge gate well barrel rail train wire glass signal song market saloon mine gold silver bones stars fog wind "
    "rain "
    "storm shadow light sign chapel-yard grave toll border town village outpost camp station cliff ridge valley shore "
    "pier dock rope-walk crane beacon antenna arcade neon music tide glow street wall garden stones footprints tracks"
).split()
VERBS = "waits stands sleeps leans watches rusts burns hums drifts creaks points looms guards hides remembers".split()
PHRASES = (
    "where nobody goes any more",
    "seen from the road",
    "wide shot",
    "establishing shot",
    "game background",
    "no people",
    "sharp silhouettes",
    "clear sky",
    "soft light",
    "long shadows",
    "a place to rest",
    "they say it is cursed",
    "built by the first settlers",
    "the last stop before the border",
    "its doors are always open",
    "older than the town itself",
    "full of strangers and rumours",
    "wide landscape",
    "painted scenery",
    "cinematic",
    "high detail",
    "flat colours",
    "film still",
    "matte painting",
    "concept art",
)
_SYLLABLES = "ka mo re di sto ver lin tha gar nos bel quin dra fel ost mar jun pik zor ell han wex tri bo sal".split()


def invented_word(rng: random.Random) -> str:
    """A name that means nothing, such as an author makes up."""
    word = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3)))
    style = rng.random()
    if style < 0.35:
        return f"{word}_{rng.choice(_SYLLABLES)}{rng.choice(_SYLLABLES)}"
    return word.capitalize() if style < 0.7 else word


def write_caption(
    time: str, ground: str, subject: str, place: str, rng: random.Random, *, is_short: bool = False
) -> str:
    """A caption for one scene: its four words, freely phrased, among words that mean nothing to the picture.

    The filler teaches the model to read a game author's prose: names, invented words, mood. A short caption has none.
    """
    time_word, ground_word = rng.choice(TIMES[time]), rng.choice(GROUNDS[ground])
    subject_word, place_word = rng.choice(SUBJECTS[subject]), rng.choice(PLACES[place])
    adjective = f"{rng.choice(ADJECTIVES)} " if rng.random() < 0.6 else ""
    second = f"{rng.choice(ADJECTIVES)} " if rng.random() < 0.4 else ""
    preposition = rng.choice(("at", "by", "under", "in", "before"))
    on = rng.choice(("on the", "in the", "over the", "beside the", "on", "in"))
    shape = rng.randrange(5)
    if shape == 0:
        core = f"a {adjective}{subject_word} {place_word} {on} {second}{ground_word} {preposition} {time_word}"
    elif shape == 1:
        core = f"{preposition} {time_word}, a {adjective}{subject_word} {on} {second}{ground_word}, {place_word}"
    elif shape == 2:
        core = f"{second}{ground_word}, {time_word}, {adjective}{subject_word} {place_word}"
    elif shape == 3:
        verb = rng.choice(VERBS)
        core = f"{place_word} a {adjective}{subject_word} {verb} {on} {ground_word} {preposition} {time_word}"
    else:
        core = f"{time_word} {on} {second}{ground_word} with a {adjective}{subject_word} {place_word}"
    if is_short:
        return core
    before: list[str] = []
    after: list[str] = []
    if rng.random() < 0.3:
        before.append(invented_word(rng))
    if rng.random() < 0.25:
        title = f"{invented_word(rng).capitalize()} {rng.choice(NOUNS).capitalize()}"
        core = f"{title}: {core}" if rng.random() < 0.7 else f"{core}. {title}"
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        filler = (
            rng.choice(PHRASES)
            if rng.random() < 0.6
            else f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} {rng.choice(VERBS)}"
        )
        (after if rng.random() < 0.8 else before).append(filler)
    return ", ".join([*before, core, *after])


def write_vague_caption(time: str, ground: str, subject: str, place: str, rng: random.Random) -> str:
    """A caption that leaves some of a scene's four words open: those given as "". With none it is an invented word.

    Teaches the model what to draw for a bare trigger word, which is all that a style dataset's captions hold.
    """
    phrases = (
        (subject and f"a {rng.choice(SUBJECTS[subject])}"),
        (ground and f"on the {rng.choice(GROUNDS[ground])}"),
        (time and f"at {rng.choice(TIMES[time])}"),
        (place and rng.choice(PLACES[place])),
    )
    return ", ".join(filter(None, phrases)) or invented_word(rng)
