"""Which checkpoint of a training to propose, by the gate's own figures.

Here: the scores and the rule, all pure. Not here: the figures themselves (`verification.measures`), pictures and losses
(`checkpoint_scoring`), what a person chooses instead (`chosen_checkpoint`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Validation losses are means over few pictures: what differs by less is alike.
LOSS_TIE_SHARE = 0.01

_APART = "keep subjects apart"


@dataclass(frozen=True)
class CheckpointScore:
    """One checkpoint at its own strength. All but the loss as the gate measures them; None where it was not asked.

    `change`: 1 − SSIM of the picture that changes least. `subject_kept`: share of each prompt's own composition.
    `style_share` of the way to the dataset's style, `style_direction` the cosine with it, `style_distance` what is
    left of it. `trigger_effect`: share of the style that shows only with the trigger.
    """

    iteration: int
    validation_loss: float | None
    change: float
    subject_kept: float | None = None
    style_share: float | None = None
    style_direction: float | None = None
    style_distance: float | None = None
    trigger_effect: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The score as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CheckpointScore":
        """What `as_json` gave."""
        return cls(**values)


@dataclass(frozen=True)
class ScoreLimits:
    """What a score must reach, and of `style_distance_max` what it must not pass: the gate's limits."""

    change_min: float
    subject_kept_min: float
    style_share_min: float
    style_direction_min: float
    style_distance_max: float
    trigger_effect_min: float


@dataclass(frozen=True)
class Proposal:
    """The checkpoint that is proposed, and why."""

    iteration: int
    reason: str


def overtrained(scores: Sequence[CheckpointScore], limits: ScoreLimits) -> dict[int, float]:
    """The checkpoints that take over the composition, with the share of it that they keep."""
    return {
        score.iteration: score.subject_kept
        for score in scores
        if score.subject_kept is not None and not score.subject_kept >= limits.subject_kept_min
    }


def propose(scores: Sequence[CheckpointScore], base_loss: float | None, limits: ScoreLimits) -> Proposal:
    """The checkpoint to keep; equal scores give equal proposals, in whatever order they come.

    Of those that keep subjects apart, change pictures, take them to the dataset's style and answer to a trigger that is
    required: the lowest validation loss; of losses that are alike, the one that keeps most of the composition. Without
    losses the one that goes farthest towards the style, or else changes most. Where none meets all that, what matters
    less is let go, and the reason says so; where none keeps subjects apart, the one that does so most. Raises
    ValueError without scores.
    """
    if not scores:
        raise ValueError("there is nothing to choose among")
    left, met, missed = list(scores), list[str](), ""
    for name, fits in _wishes(scores, limits):
        narrower = [score for score in left if fits(score)]
        if not narrower:
            missed = f"no checkpoint would {name}" if not met else f"none of them would also {name}"
            break
        left, met = narrower, [*met, name]
    best, why = _most_apart(left) if missed.endswith(_APART) else _best(left, base_loss)
    among = f"among those that {_join(met)}" if met else ""
    sentence = ", ".join(filter(None, (" ".join(filter(None, (why, among))), *_describe(best))))
    taken = overtrained(scores, limits)
    reason = "; ".join(filter(None, (f"iteration {best.iteration}: {sentence}", missed, *_describe_overtrained(taken))))
    return Proposal(best.iteration, reason)


def _wishes(
    scores: Sequence[CheckpointScore], limits: ScoreLimits
) -> Iterator[tuple[str, Callable[[CheckpointScore], bool]]]:
    """What a checkpoint should do, what matters most first; only what was measured."""
    if any(score.subject_kept is not None for score in scores):
        yield _APART, lambda s: _reaches(s.subject_kept, limits.subject_kept_min)
    yield "change pictures", lambda s: s.change > limits.change_min
    if any(score.style_distance is not None for score in scores):
        yield (
            "take pictures to the dataset's style",
            lambda s: (
                _reaches(s.style_share, limits.style_share_min)
                and _reaches(s.style_direction, limits.style_direction_min)
                and (s.style_distance is None or s.style_distance <= limits.style_distance_max)
            ),
        )
    if any(score.trigger_effect is not None for score in scores):
        yield "show it only with the trigger", lambda s: _reaches(s.trigger_effect, limits.trigger_effect_min)


def _reaches(figure: float | None, least: float) -> bool:
    """True for what was not asked as well; NaN never does."""
    return figure is None or figure >= least


def _best(scores: Sequence[CheckpointScore], base_loss: float | None) -> tuple[CheckpointScore, str]:
    losses = [loss for score in scores if (loss := _loss(score)) < math.inf]
    if not losses:
        return _farthest(scores)
    alike = [score for score in scores if _loss(score) <= min(losses) * (1 + LOSS_TIE_SHARE)]
    best = max(alike, key=lambda s: (-1 if s.subject_kept is None else s.subject_kept, -s.iteration))
    of_base = "" if base_loss is None else f", the base model's {base_loss:.4g}"
    one = len(alike) == 1
    which = "lowest validation loss" if one else "of the lowest validation losses, which are alike, most of the subject"
    return best, f"{which} ({_loss(best):.4g}{of_base})"


def _farthest(scores: Sequence[CheckpointScore]) -> tuple[CheckpointScore, str]:
    without = "no picture is held out, so there is no loss to go by"
    if any(score.style_share is not None for score in scores):
        best = max(scores, key=lambda s: (s.style_share or 0.0, -s.iteration))
        return best, f"farthest towards the style ({without})"
    best = max(scores, key=lambda s: (s.change, -s.iteration))
    return best, f"strongest change ({best.change:.2f}; {without})"


def _most_apart(scores: Sequence[CheckpointScore]) -> tuple[CheckpointScore, str]:
    return max(scores, key=lambda s: (s.subject_kept or 0.0, -s.iteration)), "nearest to keeping them apart"


def _loss(score: CheckpointScore) -> float:
    """The validation loss; infinite where there is none, or none that is a number."""
    loss = score.validation_loss
    return loss if loss is not None and math.isfinite(loss) else math.inf


def _describe(score: CheckpointScore) -> Iterator[str]:
    if score.style_share is not None:
        yield f"its pictures go {100 * score.style_share:.0f} % of the way to the style"
    if score.subject_kept is not None:
        yield f"each keeps {100 * score.subject_kept:.0f} % of its own composition"


def _describe_overtrained(taken: Mapping[int, float]) -> Iterator[str]:
    for iteration, kept in sorted(taken.items()):
        yield f"iteration {iteration} is overtrained: it takes over the composition ({100 * kept:.0f} % kept)"


def _join(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
