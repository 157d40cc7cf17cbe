"""Prompts and seeds: how a subject, a style and a stack become what the model is asked.

Here: what a prompt is put together from, and in which order. Not here: making it fit (`fitting`), tokenizers
(`base_models.ports.TokenCounter`).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sq_pipeline.base_models.ports import TokenCounter, TokenCounts
from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.fitting import Fitted, Piece, Text, by_commas, fit, split_commas, split_sentences
from sq_pipeline.content.records import SEEDS, Subject, World
from sq_pipeline.content.stacks import stack_for, triggers_of


@dataclass(frozen=True)
class Prompt:
    """What one picture is asked with. `poi`: the subject's name, of whatever tier it is.

    `dropped` are the parts left out to fit, in their own words and order.
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


def seed_for(genre: str, world: str, name: str, tier: str, base_seed: int, own: str = "") -> int:
    """First 8 hex digits of sha256(`genre:world:name:tier`) plus `base_seed`, modulo 2³².

    `own`: what its entry says in place of that, `7`, or `+3` for one that comes so much after it.
    """
    if own and not own.startswith("+"):
        return int(own)
    digest = hashlib.sha256(f"{genre}:{world}:{name}:{tier}".encode()).hexdigest()
    return (int(digest[:8], 16) + base_seed + int(own or 0)) % SEEDS


# What is left out last, in this order: of the last rank something goes first.
_SECOND_PART, _CULTURE, _ELEMENT, _FIRST_SENTENCE, _SENTENCES, _TAGS, _TIER, _SUFFIX = range(1, 9)


def _body(subject: Subject, *, has_name: bool) -> Text:
    """The visual prompt as one piece, or name, role and description: its first part always, then what fits.

    Without `has_name`, role and description, where there is one of them.
    """
    if subject.visual_prompt:
        return Text(subject.visual_prompt, (Piece(subject.visual_prompt, is_floor=True),))
    name = subject.name if has_name or not (subject.role or subject.description) else ""
    start = ": ".join(filter(None, (name, subject.role)))
    if not subject.description:
        return Text(start, (Piece(start, is_floor=True),))
    start += ", " if subject.role else ": " if name else ""
    first, *rest = split_sentences(subject.description)
    head, *parts = split_commas(first)
    pieces = [
        Piece(start + (head if parts else first), is_floor=True),
        *(Piece(f", {part}", _FIRST_SENTENCE if at else _SECOND_PART) for at, part in enumerate(parts)),
    ]
    pieces += [Piece(sentence, _SENTENCES) for sentence in rest]
    return Text(start + subject.description, tuple(pieces), glue="")


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


def write_prompt(
    world: World, subject: Subject, tier: Tier, counter: TokenCounter, *, insists_on_style: bool = True
) -> Prompt:
    """Assemble and fit the prompt.

    Texts, in order: triggers; the visual prompt, or name (unless the style leaves it out), role and description, then
    culture and what is around a person; the tags of the subject's type; the tier's suffix; the positive suffix. Over
    the encoder's budget they are cut at commas and sentences, see `fitting`: first the positive suffix, then the
    tier's, the tags, and so on. Never left out: triggers, a visual prompt, the beginning of a description, the
    beginning of the positive suffix, and what is said for safety; the beginnings of the tags and of the tier's suffix
    only where these have no room beside them. Raises ContentError where that does not fit; without `insists_on_style`
    the style gives way first.
    """
    style, own = world.style, subject.own
    suffix = style.tier_positive_suffixes.get(tier, style.positive_suffix)
    tail = (
        by_commas("" if subject.visual_prompt else _trim(subject.culture), _CULTURE, has_floor=False),
        by_commas("" if subject.visual_prompt else _trim(subject.element), _ELEMENT, has_floor=False),
        by_commas(_trim(style.tag_overrides.get(subject.kind or "", "")), _TAGS, has_floor=True, yields=True),
        by_commas(_trim(style.tier_suffixes.get(tier, "")), _TIER, has_floor=True, yields=True),
        by_commas(_trim(suffix), _SUFFIX, has_floor=True),
    )
    triggers = triggers_of(stack_for(world, tier))
    texts = [
        *(Text(trigger, (Piece(trigger, is_floor=True),)) for trigger in triggers),
        _body(subject, has_name=style.name_in_prompt),
        *tail,
    ]
    fitted = fit(texts, lambda parts: _join(filter(None, parts)), counter.count_tokens)
    if fitted.counts.tokens > fitted.counts.budget:
        raise ContentError(_too_long(subject, fitted))
    if fitted.is_style_dropped and insists_on_style:
        raise ContentError(_no_room_for_style(subject, fitted))
    return Prompt(
        genre=world.genre,
        world=world.name,
        poi=subject.name,
        slug=subject.slug,
        tier=tier,
        positive_prompt=fitted.text,
        negative_prompt=style.negative_prompt if own.negative_prompt is None else own.negative_prompt,
        seed=seed_for(world.genre, world.name, subject.name, tier, style.base_seed, own.seed),
        counts=fitted.counts,
        dropped=fitted.dropped,
    )


def _field(subject: Subject) -> str:
    return ".".join(filter(None, (subject.where, "visual_prompt" if subject.visual_prompt else "description")))


def _too_long(subject: Subject, fitted: Fitted) -> Fault:
    problem = f"{subject.name!r} has {fitted.counts.tokens} tokens, the model reads {fitted.counts.budget}"
    return Fault(subject.file, _field(subject), problem, "shorten it")


def _no_room_for_style(subject: Subject, fitted: Fitted) -> Fault:
    style = ", ".join(fitted.floor)
    problem = f"{subject.name!r} leaves no room for its style: the model reads {fitted.counts.budget} tokens, and "
    problem += f"“{style if len(style) < 120 else style[:120] + '…'}” must be among them"
    return Fault(subject.file, _field(subject), problem, "shorten it, or write `dropped_style: warn` in sq.yaml")
