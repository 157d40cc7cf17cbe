"""What `adapter inspect` says of an adapter's strength: far too strong or too weak for what others are."""

import math

from sq_pipeline.adapters.inspect.findings import Finding
from sq_pipeline.adapters.scales import Scale

_STRONG, _WEAK = 4.0, 1 / 64


def judge_scale(name: str, rank: int, scale: Scale) -> Finding | None:
    """A finding when the scale is far from 1, which is the commonest sign of an alpha that was lost or invented."""
    if scale.alpha is None or not math.isfinite(scale.value) or scale.value == 0:
        return None
    said = f"alpha {scale.alpha:g} at rank {rank}"
    if scale.value < 0:
        return Finding("negative", name, f"{said}: a negative scale, which does the opposite of what was trained")
    if scale.value >= _STRONG:
        detail = f"{said}: {scale.value:.3g} times the strength it was trained with, if it was trained at scale 1"
        return Finding("strong", name, detail)
    if scale.value <= _WEAK:
        detail = f"{said}: 1/{1 / scale.value:.3g} of the strength it was trained with, if it was trained at scale 1"
        return Finding("weak", name, detail)
    return None
