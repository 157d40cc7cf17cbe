"""What mflux has for a base model of a family: its configuration, weights' definition, LoRA mapping, transformer.

Not here: pictures (`mflux.pipelines`), training (`mflux_train.trainer`), names in files (`adapters.family_names`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mflux.models.common.config.model_config import AVAILABLE_MODELS, ModelConfig
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mflux.models.flux2.model.flux2_transformer.transformer import Flux2Transformer
from mflux.models.flux2.weights.flux2_lora_mapping import Flux2LoRAMapping
from mflux.models.flux2.weights.flux2_weight_definition import Flux2KleinWeightDefinition
from mflux.models.z_image.model.z_image_transformer.transformer import ZImageTransformer
from mflux.models.z_image.weights.z_image_lora_mapping import ZImageLoRAMapping
from mflux.models.z_image.weights.z_image_weight_definition import ZImageWeightDefinition
from mlx import nn

from sq_pipeline.base_models.base_models import QwenModel
from sq_pipeline.engines.mflux.linear_layers import linear_layers


@dataclass(frozen=True)
class FamilyParts:
    """`mapping` is what mflux's LoRA loader looks for; `make_transformer` makes one with weights not yet computed."""

    config: ModelConfig
    weight_definition: Any
    mapping: Callable[[], list[LoRATarget]]
    make_transformer: Callable[[], nn.Module]


def parts_of(base_model: QwenModel) -> FamilyParts:
    """The parts of one base model, its transformer of the base model's sizes."""
    config = AVAILABLE_MODELS[base_model.mflux_name]
    sizes = {**config.transformer_overrides, **base_model.transformer_sizes}
    if base_model.family == "z-image":
        return FamilyParts(
            config, ZImageWeightDefinition, ZImageLoRAMapping.get_mapping, lambda: ZImageTransformer(**sizes)
        )
    return FamilyParts(
        config, Flux2KleinWeightDefinition, Flux2LoRAMapping.get_mapping, lambda: Flux2Transformer(**sizes)
    )


def shapes_of(base_model: QwenModel) -> dict[str, tuple[int, int]]:
    """Every linear layer that mflux's mapping has a LoRA for: its path, and (outputs, inputs). Computes no weight."""
    parts = parts_of(base_model)
    layers = linear_layers(parts.make_transformer(), parts.mapping())
    found: dict[str, tuple[int, int]] = {}
    for path, layer in layers.items():
        weight: mx.array = layer.weight
        outputs, inputs = weight.shape
        found[path] = (outputs, inputs)
    return found
