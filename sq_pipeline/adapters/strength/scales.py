"""What multiplies an update: alpha over rank, from the first of the places that say something of it.

Here: those places, in their order, and the effective scale of a module. Not here: reading files (`stated_scales`), what
each loader makes of it (`adapters.inspect.loader_verdicts`).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

METADATA_KEY = "lora_adapter_metadata"
CONFIG_FILE = "adapter_config.json"
TENSOR = "tensor"  # the source of an alpha that is a tensor of the file

# in their order: keys of plain metadata that hold an alpha, and those that hold the rank it goes with
_PLAIN_ALPHAS = ("lora_alpha", "network_alpha", "ss_network_alpha")
_PLAIN_RANKS = ("r", "rank", "lora_rank", "network_dim", "ss_network_dim")


@dataclass(frozen=True)
class StatedScale:
    """What one place says of strength. `place`: its name for people; `rank`: the one it says, None for none.

    `is_loaders`: loaders read it too, so that nobody has to write it into the file.
    """

    place: str
    lora_alpha: float
    alpha_pattern: Mapping[str, float] = field(default_factory=dict[str, float])
    uses_rslora: bool = False
    rank: int | None = None
    rank_pattern: Mapping[str, float] = field(default_factory=dict[str, float])
    is_loaders: bool = False

    @property
    def source(self) -> str:
        """The place, for reports: `metadata` for what loaders read there."""
        return "metadata" if self.is_loaders else self.place

    def alpha_of(self, name: str) -> float:
        """The alpha of a module."""
        return _by_pattern(self.alpha_pattern, name, self.lora_alpha)

    def scale_of(self, name: str, rank: int) -> float:
        """The scale of a module (`transformer_blocks.0.attn.to_q`) of that rank."""
        return self.alpha_of(name) / (math.sqrt(rank) if self.uses_rslora else rank)

    def rank_of(self, name: str) -> float | None:
        """The rank that a module has by this place."""
        return None if self.rank is None else _by_pattern(self.rank_pattern, name, self.rank)


def _by_pattern(patterns: Mapping[str, float], name: str, otherwise: float) -> float:
    name = name.removeprefix("transformer.").removeprefix("base_model.model.")
    found = (value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", name))
    return next(found, otherwise)  # PEFT's own rule: the first that fits


@dataclass(frozen=True)
class Scale:
    """`alpha` (None: nobody says one), where it stands (`tensor`, a place, or ``), and the effective scale.

    With rsLoRA, `alpha` is the one that gives the same scale without. `loaded`: the scale that loaders see which read
    alphas alone.
    """

    alpha: float | None
    source: str
    value: float
    loaded: float = 1.0


def scale_of(name: str, rank: int, alpha: float | None, stated: StatedScale | None) -> Scale:
    """The scale of the module that the file calls `name`. An `.alpha` tensor goes before what is stated elsewhere."""
    if alpha is not None:
        return Scale(alpha, TENSOR, alpha / rank, alpha / rank)
    if stated is None:
        return Scale(None, "", 1.0)
    value = stated.scale_of(name, rank)
    return Scale(value * rank, stated.source, value)


def read_peft_config(text: str, place: str, *, is_loaders: bool) -> StatedScale | str | None:
    """What a PEFT configuration says; None where it names no alpha; what is wrong with it where it cannot be used."""
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
    found: Any = config.get("rank_pattern")
    alphas, ranks = cast("dict[str, Any]", pattern), cast("dict[str, Any]", found if isinstance(found, dict) else {})
    if problem := _bad_pattern(alphas, "alpha_pattern") or _bad_pattern(ranks, "rank_pattern"):
        return problem
    rank = config.get("r") if type(config.get("r")) is int else None
    rslora = config.get("use_rslora") is True
    return StatedScale(place, float(config["lora_alpha"]), alphas, rslora, rank, ranks, is_loaders)


def _bad_pattern(numbers: Mapping[str, Any], key: str) -> str:
    for name, value in numbers.items():
        try:
            re.compile(name)
        except (re.error, RecursionError, OverflowError):
            return f"has an {key} that is no regular expression: {name!r}"
        if not _is_number(value):
            return f"has no number for {name!r} in its {key}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_plain_alphas(metadata: Mapping[str, str]) -> list[StatedScale]:
    """Alphas that trainers write as plain metadata; one that is no number says nothing."""
    rank = next((int(rank) for key in _PLAIN_RANKS if (rank := _number(metadata.get(key))) is not None), None)
    found = ((key, _number(metadata.get(key))) for key in _PLAIN_ALPHAS)
    return [StatedScale(f"metadata {key}", alpha, rank=rank) for key, alpha in found if alpha is not None]


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
