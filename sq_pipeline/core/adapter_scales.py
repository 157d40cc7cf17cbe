"""What multiplies an update: alpha over rank, from an `.alpha` tensor or from PEFT's configuration in the metadata.

Here: the effective scale of a module, and scales that look wrong. Not here: what each loader makes of it
(`core.loaders`).
"""

import math
from dataclasses import dataclass

from sq_pipeline.core.findings import Finding
from sq_pipeline.core.peft_metadata import PeftScales

_STRONG, _WEAK = 4.0, 1 / 64


@dataclass(frozen=True)
class Scale:
    """`alpha` (None: the file says nothing), where it stands (`tensor`, `metadata` or ``), and the effective scale.

    With rsLoRA, `alpha` is the one that gives the same scale without.
    """

    alpha: float | None
    source: str
    value: float


def scale_of(name: str, rank: int, alpha: float | None, peft: PeftScales | None) -> Scale:
    """The scale of the module that the file calls `name`. An `.alpha` tensor goes before the metadata, as in mflux."""
    if alpha is not None:
        return Scale(alpha, "tensor", alpha / rank)
    if peft is None:
        return Scale(None, "", 1.0)
    value = peft.scale_of(name.removeprefix("transformer.").removeprefix("base_model.model."), rank)
    return Scale(value * rank, "metadata", value)


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
