"""Which checkpoint of a training to keep: how far apart it leaves its pictures' subjects, and which one to propose.

Here: the measure, the scores and the rule, all pure. Not here: rendering and losses (`checkpoint_scoring`), what
a person chooses instead (`chosen_checkpoint`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.pictures.contours import contours

Pixels = npt.NDArray[np.uint8]

# As a world applies a style with a light hand, and as it was trained. Two, because each costs five pictures a
# checkpoint, which is minutes at FLUX.1's size.
SCORED_SCALES = (0.7, 1.0)
# Fewer make the distance depend on which ones they are: with three it moved by 0.1 for one and the same adapter.
SCORED_PROMPTS = 4
# One picture tells whether the trigger matters; how much it does, the verification says with all prompts.
CONTROL_PROMPTS = 1
# Between what was measured on tiny-flux at scale 1 (four prompts): 0.77 to 0.97 for the demo's styles, 0.62 for one of
# them at three times the rate; 0.32 to 0.39 for trainings on one composition when they end, 0.52 on their way there.
SEPARATION_MIN = 0.55
# Validation losses are means over few pictures: what differs by less is alike.
LOSS_TIE_SHARE = 0.01

_APART = "keep subjects apart"


@dataclass(frozen=True)
class CheckpointScore:
    """One checkpoint at one scale. `change` and `trigger_change` are 1 − SSIM, the mean over prompts.

    `change`: without against with the adapter; `trigger_change`: the trigger against a control word, None without a
    trigger. `separation`: see `measure_separation`. `validation_loss` is None where nothing was held out.
    """

    iteration: int
    lora_scale: float
    validation_loss: float | None
    change: float
    trigger_change: float | None
    separation: float | None

    def as_json(self) -> dict[str, Any]:
        """The score as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CheckpointScore":
        """What `as_json` gave; records of before have the validation loss under `held_out_loss`."""
        renamed = {"validation_loss" if name == "held_out_loss" else name: value for name, value in values.items()}
        return cls(**renamed)


@dataclass(frozen=True)
class ScoreLimits:
    """What a score must reach: the least change, the least answer to the trigger, and the least separation."""

    change_min: float
    trigger_change_min: float
    separation_min: float = SEPARATION_MIN


@dataclass(frozen=True)
class Proposal:
    """The checkpoint that is proposed, the scale at which it scored best (advice: worlds set theirs), and why."""

    iteration: int
    lora_scale: float
    reason: str


def mean_distance(pictures: Sequence[Pixels]) -> float:
    """Mean over all pairs of 1 − the correlation of their contours, which knows no contrast: 0 for equal pictures.

    Raises ValueError for fewer than two.
    """
    if len(pictures) < 2:
        raise ValueError("a distance needs two pictures")
    maps = [_normalise(contours(picture)) for picture in pictures]
    return float(np.mean([_distance(first, second) for first, second in combinations(maps, 2)]))


def _distance(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    # two pictures without any edge are alike, though they have no correlation
    return 1.0 - float(first @ second) if first.any() or second.any() else 0.0


def measure_separation(with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> float | None:
    """How far apart pictures of different prompts (one seed) are with an adapter, as a share of without it.

    About 1 where a style leaves to each prompt its own composition; towards 0 where all pictures become one. None where
    there are no two prompts, or the base model's pictures are all alike.
    """
    if len(without) < 2 or (base := mean_distance(without)) <= 0:
        return None
    return mean_distance(with_adapter) / base


def overtrained(scores: Sequence[CheckpointScore], limits: ScoreLimits) -> dict[int, float]:
    """The checkpoints that take over the composition, with their separation at the largest scale.

    A smaller scale hides it; a checkpoint is judged as it was trained.
    """
    full = max((score.lora_scale for score in scores), default=1.0)
    return {
        score.iteration: score.separation
        for score in scores
        if score.lora_scale == full and score.separation is not None and score.separation < limits.separation_min
    }


def propose(scores: Sequence[CheckpointScore], base_loss: float | None, limits: ScoreLimits) -> Proposal:
    """The checkpoint to keep; equal scores give equal proposals, in whatever order they come.

    Of those that keep subjects apart, change pictures and answer to the trigger, and are not overtrained: the lowest
    validation loss; of losses that are alike, the largest separation. Without losses the largest change, which is the
    style learned best. Where none meets all that, what matters less is let go, and the reason says so; where none keeps
    subjects apart, the one that does so most. Raises ValueError without scores.
    """
    if not scores:
        raise ValueError("there is nothing to choose among")
    taken = overtrained(scores, limits)
    left, met, missed = list(scores), list[str](), ""
    for name, fits in _wishes(scores, limits, taken):
        narrower = [score for score in left if fits(score)]
        if not narrower:
            missed = f"no checkpoint would {name}" if not met else f"none of them would also {name}"
            break
        left, met = narrower, [*met, name]
    best, why = _most_apart(left) if missed.endswith(_APART) else _best(left, base_loss)
    among = f"among those that {_join(met)}" if met else ""
    apart = "" if best.separation is None else f"its subjects are {best.separation:.2f} of the base's distance apart"
    sentence = ", ".join(filter(None, (" ".join(filter(None, (why, among))), apart)))
    named = f"iteration {best.iteration} at scale {best.lora_scale:g}: {sentence}"
    reason = "; ".join(filter(None, (named, missed, *_describe_overtrained(taken))))
    return Proposal(best.iteration, best.lora_scale, reason)


def _wishes(
    scores: Sequence[CheckpointScore], limits: ScoreLimits, taken: Mapping[int, float]
) -> Iterator[tuple[str, Callable[[CheckpointScore], bool]]]:
    """What a checkpoint should do, what matters most first; only what was measured."""
    if any(score.separation is not None for score in scores):
        yield _APART, lambda s: s.separation is not None and s.separation >= limits.separation_min
    yield "change pictures", lambda s: s.change > limits.change_min
    if any(score.trigger_change is not None for score in scores):
        yield (
            "answer to the trigger",
            lambda s: s.trigger_change is not None and s.trigger_change > limits.trigger_change_min,
        )
    if taken:
        yield "do so at full strength", lambda s: s.iteration not in taken


def _best(scores: Sequence[CheckpointScore], base_loss: float | None) -> tuple[CheckpointScore, str]:
    losses = [loss for score in scores if (loss := _loss(score)) < math.inf]
    if not losses:
        best = max(scores, key=lambda s: (s.change, -s.iteration, s.lora_scale))
        return best, f"strongest change ({best.change:.2f}; no picture is held out, so there is no loss to go by)"
    alike = [score for score in scores if _loss(score) <= min(losses) * (1 + LOSS_TIE_SHARE)]
    best = max(alike, key=lambda s: (-1 if s.separation is None else s.separation, -s.iteration, s.lora_scale))
    of_base = "" if base_loss is None else f", the base model's {base_loss:.4g}"
    which = (
        "lowest validation loss" if len(alike) == 1 else "of the lowest validation losses, which are alike, most apart"
    )
    return best, f"{which} ({_loss(best):.4g}{of_base})"


def _most_apart(scores: Sequence[CheckpointScore]) -> tuple[CheckpointScore, str]:
    return max(scores, key=lambda s: (s.separation or 0.0, -s.iteration, s.lora_scale)), "nearest to keeping them apart"


def _loss(score: CheckpointScore) -> float:
    """The validation loss; infinite where there is none, or none that is a number."""
    loss = score.validation_loss
    return loss if loss is not None and math.isfinite(loss) else math.inf


def _describe_overtrained(taken: Mapping[int, float]) -> Iterator[str]:
    for iteration, separation in sorted(taken.items()):
        yield f"iteration {iteration} is overtrained: it takes over the composition (apart {separation:.2f})"


def _join(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _normalise(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean 0, length 1; all zeros where nothing varies."""
    centred = values - values.mean()
    length = float(np.linalg.norm(centred))
    return centred / length if length > 1e-9 else np.zeros_like(centred)
