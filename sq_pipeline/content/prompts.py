"""Prompts and seeds: how a subject, a style and a stack become what the model is asked.

Here: assembling, counting, dropping what does not fit. Not here: tokenizers (`protocols.TokenCounter`).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sq_pipeline.base_models.ports import TokenCounter, TokenCounts
from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Subject, World
from sq_pipeline.content.stacks import stack_for, triggers_of

_SEEDS = 2**32


@dataclass(frozen=True)
class Prompt:
    """What one picture is asked with. `poi`: the subject's name, of whatever tier it is.

    `dropped` names the parts left out to fit, in the order they went.
    FLUX.1 reads the whole prompt through T5 and only a pooled vector through CLIP: T5's budget decides what is
    dropped; `counts.clip` over `counts.clip_budget` means that CLIP sees the beginning only. Other families have one
    encoder, whose budget decides.
    """

    genre: str
    world: str
    poi: str
    slug: str
    tier: str
    positive_prompt: str
    negative_prompt: str
    seed: int
    counts: TokenCounts
    dropped: tuple[str, ...]


def seed_for(genre: str, world: str, name: str, tier: str, base_seed: int) -> int:
    """First 8 hex digits of sha256(`genre:world:name:tier`) plus `base_seed`, modulo 2³²."""
    digest = hashlib.sha256(f"{genre}:{world}:{name}:{tier}".encode()).hexdigest()
    return (int(digest[:8], 16) + base_seed) % _SEEDS


def _body(subject: Subject) -> list[str]:
    """The visual prompt as one piece, or name and description in sentences; joined as they are, they are the text."""
    if subject.visual_prompt:
        return [subject.visual_prompt]
    first, *rest = re.split(r"(?<=[.!?])(?=\s)", subject.description)
    return [f"{subject.name}: {first}" if first else subject.name, *rest]


def _trim(part: str) -> str:
    return part.strip(", \t\r\n")


def _join(pieces: Iterable[str]) -> str:
    """Pieces with commas between them, each piece as it is."""
    text = ""
    for piece in pieces:
        if text:
            has_comma = text.rstrip().endswith(",")
            text += ("" if text[-1].isspace() else " ") if has_comma else ", "
        text += piece
    return text


def write_prompt(world: World, subject: Subject, tier: Tier, counter: TokenCounter) -> Prompt:
    """Assemble and fit the prompt.

    Parts, in order: triggers; the visual prompt, or name and description, then culture; the tags of the subject's
    type; the tier's suffix; the positive suffix. Over the encoder's budget, the description's sentences go first, from
    the last to the second; then the positive suffix, the tier's suffix, the type's tags, the culture. Triggers, a
    visual prompt and a description's first sentence are never dropped: ContentError when they alone do not fit.
    """
    style = world.style
    triggers = triggers_of(stack_for(world, tier))
    body = _body(subject)
    tail = {
        "culture": "" if subject.visual_prompt else _trim(subject.culture),
        "type tags": _trim(style.tag_overrides.get(subject.kind, "") if subject.kind else ""),
        "tier suffix": _trim(style.tier_suffixes.get(tier, "")),
        "positive suffix": _trim(style.positive_suffix),
    }
    dropped: list[str] = []

    def assemble() -> str:
        return _join([*triggers, "".join(body), *(part for part in tail.values() if part)])

    while True:
        text = assemble()
        counts = counter.count_tokens(text)
        if counts.tokens <= counts.budget:
            break
        if len(body) > 1:
            dropped.append(f"description sentence {len(body)}")
            body.pop()
            continue
        name = next((name for name in reversed(tail) if tail[name]), None)
        if name is None:
            problem = f"{counts.tokens} tokens, the model reads {counts.budget}"
            field = f"{subject.name}: {'visual_prompt' if subject.visual_prompt else 'description'}"
            raise ContentError(Fault(world.key, field, problem, "shorten it"))
        dropped.append(name)
        tail[name] = ""
    return Prompt(
        genre=world.genre,
        world=world.name,
        poi=subject.name,
        slug=subject.slug,
        tier=tier,
        positive_prompt=text,
        negative_prompt=style.negative_prompt,
        seed=seed_for(world.genre, world.name, subject.name, tier, style.base_seed),
        counts=counts,
        dropped=tuple(dropped),
    )
