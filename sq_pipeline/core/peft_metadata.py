"""The scales that PEFT keeps beside the tensors: JSON in the metadata, under `lora_adapter_metadata`.

Format: diffusers' `_pack_dict_with_prefix`, PEFT's `LoraConfig`; scale is alpha / rank, alpha / √rank with rsLoRA.
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
