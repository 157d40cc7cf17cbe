"""What multiplies an update: alpha over rank, from an `.alpha` tensor or from PEFT's configuration in the metadata.

Here: the effective scale of a module, and scales that look wrong. Not here: what each loader makes of it
(`adapters.inspect.loader_verdicts`).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

METADATA_KEY = "lora_adapter_metadata"


@dataclass(frozen=True)
class PeftScales:
    """What a file's PEFT configuration says of strength."""

    lora_alpha: float
    alpha_pattern: Mapping[str, float]
    uses_rslora: bool

    def scale_of(self, module: str, rank: int) -> float:
        """The scale of a module (`transformer_blocks.0.attn.to_q`) of that rank."""
        alpha = self.lora_alpha
        for pattern, value in self.alpha_pattern.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):  # PEFT's own rule
                alpha = value
                break
        return alpha / (math.sqrt(rank) if self.uses_rslora else rank)


def read_peft_scales(metadata: Mapping[str, str]) -> PeftScales | str | None:
    """The scales in a file's metadata; None where there are none; what is wrong with them where they cannot be used."""
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "is not the JSON it should be"
    if not isinstance(values, dict):
        return "is not a JSON object"
    config = {
        key.removeprefix("transformer."): value
        for key, value in cast("dict[str, Any]", values).items()
        if "." not in key or key.startswith("transformer.")
    }
    if "lora_alpha" not in config:
        return None
    pattern: Any = config.get("alpha_pattern") or {}
    if not _is_number(config["lora_alpha"]) or not isinstance(pattern, dict):
        return "has a lora_alpha that is no number, or an alpha_pattern that is no mapping"
    alphas = cast("dict[str, Any]", pattern)
    for name, value in alphas.items():
        try:
            re.compile(name)
        except (re.error, RecursionError, OverflowError):
            return f"has an alpha_pattern that is no regular expression: {name!r}"
        if not _is_number(value):
            return f"has no number for {name!r} in its alpha_pattern"
    return PeftScales(float(config["lora_alpha"]), alphas, config.get("use_rslora") is True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
