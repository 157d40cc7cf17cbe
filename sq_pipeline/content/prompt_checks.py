"""What a model makes of a prompt's words that its author did not mean. A new check is a row of `PROMPT_CHECKS`.

Here: what is looked for in one prompt, and why. Not here: making a prompt fit (`fitting`), telling of what was found.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Subject

# as `ignore_prompt_checks` in sq.yaml calls them
CheckName = Literal["unwritten", "names", "dates", "quoted", "negations", "scenes", "times", "clip", "bytes"]


@dataclass(frozen=True)
class Asked:
    """A prompt, what it is of, and whether the base model paints words that it reads."""

    subject: Subject
    prompt: Prompt
    paints_words: bool
    has_name: bool

    @property
    def own(self) -> str:
        """What its entry says of the picture, without the style's words and without its name."""
        subject = self.subject
        parts = (subject.role, subject.description, subject.culture, subject.element)
        return subject.visual_prompt or ", ".join(filter(None, parts))


@dataclass(frozen=True)
class PromptCheck:
    """`find` gives the words that were found. `reason`: what a model makes of them; `hint`: what to do.

    `in_plan`: it is told by `plan` too, and not by `prompts --check` alone.
    """

    find: Callable[[Asked], Iterable[str]]
    reason: str
    hint: str
    in_plan: bool = True


def _finder(pattern: str, *, ignores_case: bool = True) -> Callable[[str], Iterator[str]]:
    compiled = re.compile(pattern, re.IGNORECASE if ignores_case else 0)
    return lambda text: (match.group().strip(" ,.;:") for match in compiled.finditer(text))


_unwritten = _finder(
    r"\b(?:TODO|TBD|TBA|FIXME|XXX|TKTK|PLACEHOLDER|CHANGEME)\b|\?{3,}|\{\w+\}|<[a-z][a-z _-]{0,60}>"
    r"|\[(?:insert|your|describe|fill)[^\]]{0,80}\]|\b(?i:lorem ipsum)\b",
    ignores_case=False,
)
_MONTHS = "january|february|march|april|june|july|august|september|october|november|december"
_dates = _finder(
    r"\b(?:in|of|since|from|anno|around|about|circa|ca\.?|est\.?|established|built|founded|dated)\s+(?:in\s+)?"
    r"(?:1\d{3}|20\d{2})\b(?!-\d|\s*(?:px|×|x\d|k\b))"
    rf"|\b(?:\d{{1,2}}(?:st|nd|rd|th)?\s+(?:{_MONTHS})|(?:{_MONTHS})\s+\d{{1,2}}(?:st|nd|rd|th)?)\b(?:,?\s+\d{{4}}\b)?"
    r"|\b\d{4}-\d{2}-\d{2}\b|\b(?:1\d|20)\d0s\b|\b\d{1,4}\s*(?:BCE?|CE|AD)\b|\bAD\s*\d{1,4}\b"
)
_quoted = _finder(
    r"[\"“«„][^\"”»“]{1,60}[\"”»“]|\b(?:sign|banner|poster|label|plaque|letters|inscription|title)s?"
    r"\s+(?:that\s+)?(?:reads?|reading|says?|saying|spells?|spelling)\s+\S+"
)
# A story's prose ("nobody owns it", "it never came back") names no thing, and only these are painted. What pictures
# show when they go wrong is left alone: people rely on saying so, see `fitting`.
_FLAWS = "letters?|lettering|texts?|words?|writing|numbers?|watermarks?|signatures?|logos?|captions?|frames?|borders?"
_negations = _finder(
    r"\b(?:no(?!\s+(?:longer|more|less|one|matter|doubt|sooner|other)\b)|without|neither|nor|not(?=\s+(?:an?|any|one)\b))"
    rf"\s+(?:(?:an?|any|the|single|one|visible)\s+)*+(?!(?:{_FLAWS})\b)[a-z][\w-]*(?:\s+or\s+[a-z][\w-]*)?"
)
_several = _finder(
    r"\b(?:meanwhile|split[- ]screen|diptych|triptych|collage|comic panels?|before[- ]and[- ]after|time[- ]lapse"
    r"|(?:hours|days|weeks|months|years|moments) (?:later|before|after)"
    r"|the (?:next|following) (?:day|morning|night|scene)|two (?:scenes|views|pictures|panels)|in another scene)\b"
)
_TIMES_OF_DAY: Mapping[str, str] = {
    "morning": r"dawn|sunrise|daybreak|morning",
    "noon": r"noon|midday|broad daylight",
    "evening": r"dusk|sunset|evening|nightfall",
    "night": r"midnight|night-?time|at night|by night|moonlight|moonlit|starlight|starlit",
}
_time_words = {name: _finder(rf"\b(?:{words})\b") for name, words in _TIMES_OF_DAY.items()}


def _several_times(asked: Asked) -> Iterator[str]:
    times = [word for find in _time_words.values() for word in (next(find(asked.own), ""),) if word]
    if len(times) > 1:
        yield " and ".join(times)


def _names(asked: Asked) -> Iterator[str]:
    if asked.paints_words and asked.has_name and not asked.subject.visual_prompt:
        yield asked.subject.name


def _cut_by_clip(asked: Asked) -> Iterator[str]:
    counts = asked.prompt.counts
    if counts.is_cut_by_clip:
        yield f"{counts.clip_budget} of {counts.clip} tokens"


PROMPT_CHECKS: Mapping[CheckName, PromptCheck] = {
    "unwritten": PromptCheck(
        lambda asked: _unwritten(asked.prompt.positive_prompt), "they are painted as they stand", "write what is meant"
    ),
    "names": PromptCheck(
        _names,
        "models paint a name as a caption, or take it for a person's",
        "write a visual_prompt, or `name_in_prompt: false` in visual_style.yaml",
        in_plan=False,
    ),
    "dates": PromptCheck(
        lambda asked: _dates(asked.own) if asked.paints_words else (),
        "models paint a date as a caption",
        "say what that time looks like",
    ),
    "quoted": PromptCheck(
        lambda asked: _quoted(asked.own) if asked.paints_words else (),
        "models paint words in quotes",
        "leave them, if they are to be read in the picture",
        in_plan=False,
    ),
    "negations": PromptCheck(
        lambda asked: _negations(asked.own),
        "models paint what is named, also behind a no",
        "say what is there in its place; what must not be shown belongs into negative_prompt, where the base model "
        "reads one",
    ),
    "scenes": PromptCheck(
        lambda asked: _several(asked.own), "two scenes in one picture become neither", "describe one; make two entries"
    ),
    "times": PromptCheck(
        _several_times, "of two times of day models paint one, or something between", "name one", in_plan=False
    ),
    "clip": PromptCheck(
        _cut_by_clip,
        "CLIP reads the beginning only, and it tells the style",
        "put first what decides the look",
        in_plan=False,
    ),
    "bytes": PromptCheck(
        lambda asked: asked.prompt.counts.broken,
        "the text encoder has no token for them and reads single bytes, or nothing",
        "write them in plain letters, or describe what they mean",
    ),
}


@dataclass(frozen=True)
class Found:
    """What one check found in one prompt."""

    check: CheckName
    words: tuple[str, ...]


def check_prompt(asked: Asked, ignored: Collection[CheckName]) -> list[Found]:
    """What the checks that are not `ignored` find, in the order of the table."""
    found: list[Found] = []
    for name, check in PROMPT_CHECKS.items():
        if name not in ignored and (words := tuple(dict.fromkeys(check.find(asked)))):
            found.append(Found(name, words))
    return found
