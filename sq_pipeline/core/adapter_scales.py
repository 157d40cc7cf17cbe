"""What multiplies an update: alpha over rank, from an `.alpha` tensor or from PEFT's configuration in the metadata.

Here: the effective scale of a module, and scales that look wrong. Not here: what each loader makes of it
(`core.loaders`).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sq_pipeline.core.findings import Finding

PEFT_KEY = "lora_adapter_metadata"
_STRONG, _WEAK = 4.0, 1 / 64


@dataclass(frozen=True)
class Scale:
    """`alpha` (None: the file says nothing), where it stands (`tensor`, `metadata` or ``), and the effective scale.

    With rsLoRA `value` is alpha over the root of the rank.
    """

    alpha: float | None
    source: str
    value: float


def peft_config(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    """The transformer's LoRA configuration that diffusers writes, keys without prefix; empty when there is none."""
    try:
        raw: Any = json.loads(metadata.get(PEFT_KEY, ""))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(raw, dict):
        return {}
    values = cast("dict[str, Any]", raw)
    prefix = "transformer." if any(key.startswith("transformer.") for key in values) else ""
    config = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    return config if _is_number(config.get("lora_alpha")) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def scale_of(name: str, rank: int, alpha: float | None, config: Mapping[str, Any]) -> Scale:
    """The scale of the module that the file calls `name`. An `.alpha` tensor goes before the metadata, as in mflux."""
    if alpha is not None:
        return Scale(alpha, "tensor", alpha / rank)
    if not config:
        return Scale(None, "", 1.0)
    alpha = float(config["lora_alpha"])
    patterns: Any = config.get("alpha_pattern")
    if isinstance(patterns, dict):
        module = name.removeprefix("transformer.")
        for pattern, value in cast("dict[str, Any]", patterns).items():
            if _matches(pattern, module) and _is_number(value):
                alpha = float(value)
                break
    divisor = math.sqrt(rank) if config.get("use_rslora") else rank
    return Scale(alpha, "metadata", alpha / divisor)


def _matches(pattern: str, module: str) -> bool:
    # PEFT's own rule: the pattern is the end of a module's name
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error:
        return False


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
