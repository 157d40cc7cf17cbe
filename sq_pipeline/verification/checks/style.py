"""Checks *style*: do pictures go from the base model's towards the reference's, and arrive there?"""

from collections.abc import Callable

from sq_pipeline.verification.gate_limits import LimitName
from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.measures.style import StyleFigures
from sq_pipeline.verification.verdicts import Verdict, percent

Figure = Callable[[StyleFigures], float]
Describe = Callable[[StyleFigures, str], str]


def _check(name: str, limit: LimitName, figure: Figure, describe: Describe) -> tuple[str, Callable[[Look], Verdict]]:
    """A check of one figure of the style: its name, and how it is judged."""

    def judge(look: Look) -> Verdict:
        reference = look.request.reference
        if reference is not None and not reference.is_style:
            return skipped(name, "the dataset teaches a subject; how its pictures look is not held against it")
        if reference is None or isinstance(look.style, str):
            return skipped(name, str(look.style))
        if limit in ("style_share", "style_direction") and not look.style.counting:
            return skipped(name, f"{reference.label} is too like the base model's own pictures: the loss has to tell")
        return look.verdict(name, limit, figure(look.style), describe(look.style, reference.label))

    return name, judge


def _shown(found: StyleFigures, label: str) -> str:
    groups = [f"{name} {percent(found.groups[name].share)}" for name in found.counting]
    return (
        f"pictures show {percent(found.share)} of the way to {label}'s style ({', '.join(groups) or 'no difference'})"
    )


def _directed(found: StyleFigures, label: str) -> str:
    return f"what changes in pictures points {percent(found.direction)} towards {label}'s style"


def _far(found: StyleFigures, label: str) -> str:
    farthest = max((name for name in found.groups if name != "texture"), key=lambda n: found.groups[n].distance)
    return f"pictures are {found.distance:.2f} times as far from {label} as the base model's (most in {farthest})"


def _foreign(found: StyleFigures, label: str) -> str:
    return f"in one frequency pictures gain {found.foreign_texture:.1f} spreads that {label} does not have"


# without an adapter the share is 0, the direction 0, and the distance 1
SHOWN = _check("style shown", "style_share", lambda found: found.share, _shown)
DIRECTED = _check("right style", "style_direction", lambda found: found.direction, _directed)
NEAR = _check("style not overshot", "style_distance", lambda found: found.distance, _far)
PURE = _check("no foreign texture", "foreign_texture", lambda found: found.foreign_texture, _foreign)
