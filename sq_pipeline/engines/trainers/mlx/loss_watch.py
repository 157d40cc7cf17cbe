"""Whether a training's losses still make sense. Not here: what is done about it (`engines.trainers.mlx.trainer`).

The measure is `blank_loss`, that of a prediction of zero everywhere: noise of variance 1 plus the pictures' own mean
square, at every time. A base model that knows its work is at about half of it, at its worst; a diverged one is at it or
above, since the layers after the blocks keep what a broken block says within bounds.
"""

import math
from collections.abc import Sequence
from statistics import median

_WINDOW = 20
_SHARE = 0.9


def describe_fault(losses: Sequence[float], blank_loss: float) -> str | None:
    """What is wrong with the losses so far; None while nothing is.

    A loss that is no number is wrong, and so are twenty that are no better than a blank prediction's (their median).
    """
    if not math.isfinite(losses[-1]):
        return f"the loss became {losses[-1]} at iteration {len(losses)}"
    recent = losses[-_WINDOW:]
    if len(recent) == _WINDOW and median(recent) > _SHARE * blank_loss:
        about = f"{median(recent):.3g}, where a blank prediction has {blank_loss:.3g}"
        return f"the loss diverged: about {about}, at iteration {len(losses)}"
    return None


def good_until(losses: Sequence[float], blank_loss: float) -> tuple[int, ...]:
    """After which iterations a divergence may have begun, if the last twenty losses are a part of one: those before
    each loss that is too high.

    The first of them is the last that was good by the median that stops a training.
    """
    first = max(0, len(losses) - _WINDOW)
    return tuple(at for at in range(first, len(losses)) if is_doubtful(losses[at], blank_loss))


def is_doubtful(loss: float, blank_loss: float) -> bool:
    """True when this may be the first loss of a divergence: no moment for a checkpoint."""
    return not loss <= _SHARE * blank_loss
