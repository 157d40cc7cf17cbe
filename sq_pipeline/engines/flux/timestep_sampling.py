"""The times of flow matching (1 is pure noise): how often each is trained at, and at which a picture is made.

A training draws a uniform number and asks for the time of that share, so the same curve gives times at even shares for
a loss that can be compared.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# (uniform numbers in 0–1, tokens of the picture) → times in 0–1
TimeCurve = Callable[[Floats, int], Floats]


def logit_normal(shift: float, spread: float) -> TimeCurve:
    """sigmoid(N(shift, spread)): Esser et al. 2024, section 3.1."""
    normal = NormalDist(shift, spread)

    def times(shares: Floats, _tokens: int) -> Floats:
        drawn = np.array([normal.inv_cdf(min(max(share, 1e-9), 1 - 1e-9)) for share in shares.tolist()])
        return 1 / (1 + np.exp(-drawn))

    return times


def shifted_uniform(shares: Floats, tokens: int) -> Floats:
    """FLUX.1-dev's: uniform, moved towards noise the more tokens a picture has (mlx-examples, `FluxSampler`)."""
    mu = 0.5 + (tokens - 256) * (1.15 - 0.5) / (4096 - 256)
    shares = np.clip(shares, 1e-9, 1.0)
    return math.exp(mu) / (math.exp(mu) + 1 / shares - 1)


def quarters(shares: Floats, _tokens: int) -> Floats:
    """FLUX.1-schnell's: the four times that it was distilled for, 1/4 to 1."""
    return (np.minimum(np.floor(shares * 4), 3) + 1) / 4
