"""Whether a training's losses still make sense. Not here: what is done about it (`engines.lora_trainer`)."""

import math
from collections.abc import Sequence
from statistics import median

_WINDOW = 10
_GROWTH = 10.0  # one noisy loss at batch size 1 differs from the next by a factor of about 3


def describe_fault(losses: Sequence[float]) -> str | None:
    """What is wrong with the losses so far; None while nothing is.

    A loss that is no number is wrong, and so is a median of the last ten that is ten times that of the first ten.
    """
    if not math.isfinite(losses[-1]):
        return f"the loss became {losses[-1]} at iteration {len(losses)}"
    if len(losses) >= 2 * _WINDOW:
        first, last = median(losses[:_WINDOW]), median(losses[-_WINDOW:])
        if last > _GROWTH * first:
            return f"the loss diverged, from {first:.3g} to {last:.3g} at iteration {len(losses)}"
    return None


def is_doubtful(losses: Sequence[float]) -> bool:
    """True when the last loss may be the first of a divergence: no moment for a checkpoint."""
    return not losses[-1] <= _GROWTH * median(losses[:_WINDOW])
