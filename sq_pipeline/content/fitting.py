"""Fitting a prompt into what a text encoder reads: pieces are left out whole, the least important first, and told.

A text is cut at the ends of its sentences, or at commas outside brackets. Some pieces are its *floor*: they are never
left out unless a person allows it. Not here: which texts a prompt is put together from (`prompts`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sq_pipeline.base_models.ports import TokenCounts

# What a picture must not show, or must: people rely on it, so it stays.
_SAFETY = re.compile(
    r"^(?:no|not|never|without|none)\b|\b(?:clothed|dressed|modest|modestly|unlettered|textless|wordless)\b"
    r"|\b(?:text|letter|watermark|logo)-?free\b"
    r"|^(?:only )?(?:one|a single|single|solo) (?:subject|person|figure|animal)\b"
    r"|\b(?:safe for work|sfw|family[- ]friendly)\b",
    re.IGNORECASE,
)

# After these a full stop ends no sentence; a single capital letter is an initial.
_ABBREVIATIONS = (
    "st|ste|mr|mrs|ms|mx|dr|prof|sr|jr|rev|fr|hon|pres|gov|sen|rep|gen|col|maj|capt|cpt|cmdr|lt|sgt|cpl|pvt|adm"
    "|mt|mts|ft|rd|ave|blvd|no|nos|vol|ch|fig|approx|ca|c|vs|etc|cf|al|inc|ltd|co|corp|dept|e\\.g|i\\.e|a\\.m|p\\.m"
)
_NO_END = re.compile(rf"(?:^|[\s(\"'])(?:(?i:{_ABBREVIATIONS})|[A-Z])\.$")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)")


@dataclass(frozen=True)
class Piece:
    """What is left out as a whole. `is_floor`: only where a person allows it. `rank`: the least goes last.

    `yields`: of the floor, it is left out before the rest of the floor has no room.
    """

    text: str
    rank: int = 0
    is_floor: bool = False
    yields: bool = False


@dataclass(frozen=True)
class Text:
    """One of the texts of a prompt, as pieces. `glue` is between them where one was left out; `whole`: with all."""

    whole: str
    pieces: tuple[Piece, ...]
    glue: str = ", "

    def without(self, left_out: Iterable[Piece]) -> str:
        """The text without these of its pieces."""
        gone = set(map(id, left_out))
        kept = [piece.text for piece in self.pieces if id(piece) not in gone]
        return self.whole if len(kept) == len(self.pieces) else self.glue.join(kept)


@dataclass
class Fitted:
    """A prompt that fits; `dropped` are the pieces that do not, in their order in the text."""

    text: str
    counts: TokenCounts
    dropped: tuple[str, ...]
    is_style_dropped: bool = False
    floor: tuple[str, ...] = field(default=())


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, the spaces between them at the beginning of the second: joined they are the text."""
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.group() == "." and _NO_END.search(text[start : match.end()]):
            continue
        found.append(text[start : match.end()])
        start = match.end()
    if found and not text[start:].strip():
        return [*found[:-1], found[-1] + text[start:]]
    return [*found, text[start:]]


def split_commas(text: str) -> list[str]:
    """The parts of a text between its commas, without spaces around them; a comma in brackets or quotes is none."""
    parts, depth, is_quoted = [""], 0, False
    for place, char in enumerate(text):
        depth = max(0, depth + (char in "([{") - (char in ")]}"))
        is_quoted ^= char == '"'
        is_number = char == "," and text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()
        if char == "," and not depth and not is_quoted and not is_number:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def is_safety(part: str) -> bool:
    """True for a part that says what a picture must not show, or how its people are dressed."""
    return bool(_SAFETY.search(part))


def by_commas(text: str, rank: int, *, has_floor: bool, yields: bool = False) -> Text:
    """A text that may be cut at its commas. Its floor: what is said for safety and, with `has_floor`, its beginning.

    `yields`: its beginning gives way where the whole floor has no room.
    """
    pieces = (
        Piece(part, rank, is_safe or (has_floor and place == 0), yields and not is_safe)
        for place, part in enumerate(split_commas(text))
        for is_safe in (is_safety(part),)
    )
    return Text(text, tuple(pieces))


def fit(texts: Sequence[Text], join: Callable[[Iterable[str]], str], count: Callable[[str], TokenCounts]) -> Fitted:
    """All of it if it fits; else the floor, and of the rest, by rank and from the left, as much as fits.

    `is_style_dropped`: not even the floor fits; then of the floor too only what fits is there, safety first. What has
    rank 0 and is floor is there in any case, so the result may not fit.
    """
    whole = join(text.whole for text in texts)
    counts = count(whole)
    if counts.tokens <= counts.budget:
        return Fitted(whole, counts, ())
    pieces = [piece for text in texts for piece in text.pieces]
    text_of = {id(piece): place for place, text in enumerate(texts) for piece in text.pieces}
    left_out = [piece for piece in pieces if not piece.is_floor]

    def look(gone: Sequence[Piece]) -> tuple[str, TokenCounts]:
        said = join(text.without(gone) for text in texts)
        return said, count(said)

    said, counts = look(left_out)
    floor = [piece for piece in pieces if piece.is_floor and piece.rank]
    if counts.tokens > counts.budget:
        left_out += [piece for piece in floor if piece.yields]
        said, counts = look(left_out)
    is_style_dropped = counts.tokens > counts.budget
    candidates = sorted(left_out, key=lambda piece: (not piece.is_floor, piece.rank))
    if is_style_dropped:
        left_out += [piece for piece in floor if not piece.yields]
        rest = [piece for piece in candidates if not piece.is_floor]
        candidates = [*sorted(floor, key=lambda piece: (not is_safety(piece.text), piece.rank)), *rest]
        said, counts = look(left_out)
    cut: set[int] = set()
    for piece in candidates:
        if text_of[id(piece)] in cut and not piece.is_floor:
            continue
        trial = [other for other in left_out if other is not piece]
        now, counted = look(trial)
        if counted.tokens <= counted.budget:
            left_out, said, counts = trial, now, counted
        elif not piece.is_floor:
            cut.add(text_of[id(piece)])  # what comes after it would read as if it stood there
    gone = set(map(id, left_out))
    dropped = tuple(piece.text.strip(", \t\r\n") for piece in pieces if id(piece) in gone)
    kept = tuple(piece.text for piece in floor if not piece.yields)
    return Fitted(said, counts, dropped, is_style_dropped, kept)
