"""Check *style*: do pictures go from the base model's towards the reference's, and arrive there?"""

from sq_pipeline.verification.look import Look, skipped
from sq_pipeline.verification.measures.style import StyleFigures
from sq_pipeline.verification.verdicts import Verdict

SHARE, DIRECTION, DISTANCE = "style shown", "right style", "style not overshot"


def judge_share(look: Look) -> Verdict:
    """The share of the way that is gone; without an adapter it is 0."""
    figures = _measure(look)
    if isinstance(figures, str):
        return skipped(SHARE, figures)
    label = _label(look)
    detail = f"pictures show {_percent(figures.share)} of the way to {label}'s style ({_groups(figures)})"
    return look.verdict(SHARE, "style_share", figures.share, detail)


def judge_direction(look: Look) -> Verdict:
    """Whether the way that is gone leads there: 1 straight, 0 aside, below it away."""
    figures = _measure(look)
    if isinstance(figures, str):
        return skipped(DIRECTION, figures)
    detail = f"what changes in pictures points {_percent(figures.direction)} towards {_label(look)}'s style"
    return look.verdict(DIRECTION, "style_direction", figures.direction, detail)


def judge_distance(look: Look) -> Verdict:
    """What is left of the distance to the reference: 1 for the base model itself."""
    figures = _measure(look)
    if isinstance(figures, str):
        return skipped(DISTANCE, figures)
    farthest = max((name for name in figures.groups if name != "texture"), key=lambda n: figures.groups[n].distance)
    detail = (
        f"pictures are {figures.distance:.2f} times as far from {_label(look)} as the base model's (most in {farthest})"
    )
    return look.verdict(DISTANCE, "style_distance", figures.distance, detail)


def _measure(look: Look) -> StyleFigures | str:
    if look.request.reference is not None and not look.request.reference.is_style:
        return "the dataset teaches a subject; how its pictures look is not held against it"
    return look.style


def _label(look: Look) -> str:
    return look.request.reference.label if look.request.reference is not None else "the reference"


def _groups(figures: StyleFigures) -> str:
    return ", ".join(f"{name} {_percent(figures.groups[name].share)}" for name in figures.counting) or "no difference"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
