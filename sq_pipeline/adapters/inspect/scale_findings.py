"""What is said of an adapter's strength, by inspect, remap and the plan alike: strong, weak, none, the opposite.

Kohya trains at any alpha, so that one above the rank is a remark; what nobody trains is in doubt.
"""

import math
from collections.abc import Collection, Iterator

from sq_pipeline.adapters.form import Patch
from sq_pipeline.adapters.inspect.findings import Finding
from sq_pipeline.adapters.strength.scales import TENSOR, Scale

_STRONG, _WEAK, _EXTREME = 4.0, 1 / 64, 128.0


def judge_scale(name: str, rank: int, scale: Scale) -> Finding | None:
    """A finding when the scale is far from 1: a strength that people should know of, or an alpha that is wrong."""
    if scale.alpha is None or not math.isfinite(scale.value) or scale.value == 0:
        return None
    said = f"alpha {scale.alpha:g} at rank {rank}"
    if scale.value < 0:
        return Finding("negative", name, f"{said}: a negative scale, which does the opposite of what was trained")
    if scale.value >= _EXTREME:
        return Finding("extreme", name, f"runs at {scale.value:.3g} times its matrices ({said}); nobody trains so")
    if scale.value >= _STRONG:
        return Finding("strong", name, f"runs at {scale.value:.3g} times its matrices ({said}); Kohya trains so")
    if scale.value <= _WEAK:
        return Finding("weak", name, f"runs at 1/{1 / scale.value:.3g} of its matrices ({said}); Kohya trains so")
    return None


def judge_patches(patches: Collection[Patch], zeros: Collection[str]) -> Iterator[Finding]:
    """What is to be said of each update. `zeros`: the tensors that hold nothing but zeros."""
    nothing = {*zeros}
    for patch in patches:
        if not patch.scale or {patch.down.key, patch.up.key} & nothing:
            yield Finding("zero", patch.slot)
        elif finding := judge_scale(patch.slot, patch.rank, Scale(patch.alpha, TENSOR, patch.scale)):
            yield finding
