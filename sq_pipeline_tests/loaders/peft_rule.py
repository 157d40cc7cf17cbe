"""PEFT's rule for what a LoRA adds to a layer, in our words: read in peft 0.21.2, which diffusers loads through.

A module is adapted when the state dict names it. Its rank and alpha are those of the first pattern that matches its
whole name (or its end, from a dot on), else the config's; it adds alpha / rank · B @ A.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sq_pipeline_tests.loaders.layers import Update
from sq_pipeline_tests.loaders.numpy_torch import Linear, MissingStandInError, StandIn, Tensor


class LoraConfig:
    """What decides the update; PEFT's defaults. Other settings are taken and do not matter here."""

    def __init__(
        self,
        r: int = 8,
        lora_alpha: Any = 8,
        rank_pattern: Mapping[str, int] | None = None,
        alpha_pattern: Mapping[str, Any] | None = None,
        target_modules: Any = None,
        use_rslora: bool = False,
        use_dora: bool = False,
        **_others: Any,
    ) -> None:
        self.r, self.lora_alpha = r, lora_alpha
        self.rank_pattern, self.alpha_pattern = rank_pattern or {}, alpha_pattern or {}
        self.target_modules, self.use_rslora = target_modules, use_rslora
        if use_dora:
            raise MissingStandInError("DoRA")


def inject_adapter_in_model(
    config: LoraConfig, model: Any, adapter_name: str, state_dict: Mapping[str, Tensor], low_cpu_mem_usage: bool
) -> None:
    """Note rank and scale of every module that `state_dict` names. Raises ValueError where PEFT does."""
    names = {key.rsplit(".lora_", 1)[0] for key in state_dict}
    model.lora_ranks, model.lora_scales = {}, {}
    for name, module in model.named_modules():
        if name not in names:
            continue
        if not isinstance(module, Linear):
            raise ValueError(f"Target module {name} is not supported: it is no linear layer")
        rank = config.rank_pattern.get(_pattern(config.rank_pattern, name), config.r)
        alpha = config.alpha_pattern.get(_pattern(config.alpha_pattern, name), config.lora_alpha)
        if rank <= 0:
            raise ValueError(f"`r` should be a positive integer value but the value passed is {rank}")
        scale = alpha / (math.sqrt(rank) if config.use_rslora else rank)
        model.lora_ranks[name] = rank
        # an alpha from a tensor stays one: the quotient is rounded to its dtype
        model.lora_scales[name] = scale.item() if isinstance(scale, Tensor) else float(scale)
    if not model.lora_ranks:
        raise ValueError(f"Target modules {config.target_modules} not found in the base model.")


def set_peft_model_state_dict(
    model: Any, state_dict: Mapping[str, Tensor], adapter_name: str, low_cpu_mem_usage: bool
) -> StandIn:
    """Put the matrices in. Raises RuntimeError for a shape that is not the module's and the rank's."""
    layers: dict[str, Linear] = {name: module for name, module in model.named_modules() if name in model.lora_ranks}
    wanted: dict[str, tuple[int, int]] = {}
    for name, rank in model.lora_ranks.items():
        wanted[f"{name}.lora_A.weight"] = (rank, layers[name].in_features)
        wanted[f"{name}.lora_B.weight"] = (layers[name].out_features, rank)
    wrong = [
        f"size mismatch for {key}: {state_dict[key].shape} in the file, {shape} in the model"
        for key, shape in wanted.items()
        if key in state_dict and state_dict[key].shape != shape
    ]
    if wrong:
        raise RuntimeError("; ".join(wrong))
    model.lora_matrices = {key: state_dict[key] for key in wanted if key in state_dict}
    return StandIn(
        "load_result",
        unexpected_keys=[key for key in state_dict if key not in wanted],
        missing_keys=[f"{key}.{adapter_name}" for key in wanted if key not in state_dict],
    )


def updates_of(model: Any) -> dict[str, Update]:
    """What each adapted module adds to its weight. Raises RuntimeError for a module that has one matrix only."""
    updates: dict[str, Update] = {}
    for name, scale in getattr(model, "lora_scales", {}).items():
        matrices = [model.lora_matrices.get(f"{name}.{word}.weight") for word in ("lora_B", "lora_A")]
        if None in [None if matrix is None else 0 for matrix in matrices]:
            raise RuntimeError(f"{name} at first use: one of its matrices was never loaded")
        up, down = (np.asarray(matrix.values, dtype=np.float64) for matrix in matrices if matrix is not None)
        updates[name] = scale * (up @ down)
    return updates


def _pattern(patterns: Iterable[str], name: str) -> str:
    return next((pattern for pattern in patterns if re.match(rf"(.*\.)?({pattern})$", name)), name)
