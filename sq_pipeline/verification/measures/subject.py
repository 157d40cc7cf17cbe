"""Does each picture keep its own prompt's composition? Contours with an adapter against the base model's.

Not here: limits.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sq_pipeline.pictures.contours import contours
from sq_pipeline.verification.measures.features import Floats, Pixels


def subject_kept(with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> float:
    """How much of what tells prompts apart is kept: about 1 for the base model itself, 0 for one picture of all.

    Contours of each set without what all of it shares (a frame, a horizon); the mean correlation of each prompt's with
    the base model's of the same prompt, less that with the other prompts', as a share of what equal pictures have.
    Raises ValueError for fewer than two prompts, or unequal numbers.
    """
    if len(with_adapter) < 2 or len(with_adapter) != len(without):
        raise ValueError("prompts are told apart by two or more, each with and without the adapter")
    mine, base = (_apart(np.stack([contours(picture) for picture in each])) for each in (with_adapter, without))
    table, same = mine @ base.T, base @ base.T
    most = _own_less_others(same)
    return _own_less_others(table) / most if most > 1e-9 else 0.0


def _own_less_others(table: npt.NDArray[np.float64]) -> float:
    count = len(table)
    own = float(np.trace(table))
    return own / count - (float(table.sum()) - own) / (count * count - count)


def _apart(maps: Floats) -> Floats:
    """Each row without the mean of all, length 1; zeros where it is no other than the mean."""
    own = maps - maps.mean(axis=0)
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    least = 1e-6 * (np.linalg.norm(maps, axis=1, keepdims=True) + 1e-9)
    return np.where(lengths > least, own / np.maximum(lengths, 1e-12), 0.0)
