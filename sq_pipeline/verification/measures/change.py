"""How much do pictures differ, whatever it means?"""

from collections.abc import Sequence

import numpy as np

from sq_pipeline.verification.measures.features import Pixels, lab


def mean_change(first: Sequence[Pixels], second: Sequence[Pixels]) -> float:
    """Mean over the pairs of the root mean square of ΔE*ab (CIE 1976) over their pixels; 0 for equal pictures."""
    pairs = zip(first, second, strict=True)
    return float(np.mean([np.sqrt(((lab(one) - lab(other)) ** 2).sum(axis=-1).mean()) for one, other in pairs]))
