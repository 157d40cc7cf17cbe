"""What mflux has for a family: its transformer, pipeline, weights' definition, LoRA mapping. One table.

Not here: FLUX.1, whose network and layers are this product's own; pictures (`mflux.pipelines`), training
(`mflux_train.trainer`), names in files (`adapters.family_keymaps`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mflux.models.common.config.model_config import AVAILABLE_MODELS
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mflux.models.flux2.model.flux2_transformer.transformer import Flux2Transformer
from mflux.models.flux2.variants.txt2img.flux2_klein import Flux2Klein
from mflux.models.flux2.weights.flux2_lora_mapping import Flux2LoRAMapping
from mflux.models.flux2.weights.flux2_weight_definition import Flux2KleinWeightDefinition
from mflux.models.z_image.model.z_image_transformer.transformer import ZImageTransformer
from mflux.models.z_image.variants.z_image import ZImage
from mflux.models.z_image.weights.z_image_lora_mapping import ZImageLoRAMapping
from mflux.models.z_image.weights.z_image_weight_definition import ZImageWeightDefinition
from mlx import nn

from sq_pipeline.base_models.base_models import Family, QwenModel
from sq_pipeline.engines.mflux.linear_layers import linear_layers


@dataclass(frozen=True)
class MfluxFamily:
    """What mflux has for a family that it trains and renders with classes of its own.

    `transformer` and `pipeline` are the classes; the transformer's weights are not yet computed when it is made.
    `mapping` is what mflux's LoRA loader looks for. `trained`: the paths of the layers that mflux's own examples train;
    what else its mapping names, `mflux-train` saves under names that it does not load. `no_guidance` stands for a
    request without one.
    """

    transformer: Callable[..., nn.Module]
    pipeline: Callable[..., Any]
    weight_definition: Any
    mapping: Callable[[], list[LoRATarget]]
    trained: str
    takes_negative_prompt: bool
    no_guidance: float


FAMILIES: Mapping[Family, MfluxFamily] = {
    "z-image": MfluxFamily(
        transformer=ZImageTransformer,
        pipeline=ZImage,
        weight_definition=ZImageWeightDefinition,
        mapping=ZImageLoRAMapping.get_mapping,
        trained=r"layers\.\d+\.(attention|feed_forward)\..+|cap_embedder\.1|all_final_layer\.2-1\.linear",
        takes_negative_prompt=True,
        no_guidance=0.0,
    ),
    "flux2": MfluxFamily(
        transformer=Flux2Transformer,
        pipeline=Flux2Klein,
        weight_definition=Flux2KleinWeightDefinition,
        mapping=Flux2LoRAMapping.get_mapping,
        trained=r"(single_)?transformer_blocks\..+",
        takes_negative_prompt=False,
        no_guidance=1.0,  # the prompt alone, once a step
    ),
}


def make_transformer(base_model: QwenModel) -> nn.Module:
    """The transformer of one base model, of its sizes, with weights not yet computed."""
    overrides = AVAILABLE_MODELS[base_model.mflux_name].transformer_overrides
    return FAMILIES[base_model.family].transformer(**{**overrides, **base_model.transformer_sizes})


def shapes_of(base_model: QwenModel) -> dict[str, tuple[int, int]]:
    """Every linear layer that mflux's mapping has a LoRA for: its path, and (outputs, inputs). Computes no weight."""
    layers = linear_layers(make_transformer(base_model), FAMILIES[base_model.family].mapping())
    found: dict[str, tuple[int, int]] = {}
    for path, layer in layers.items():
        weight: mx.array = layer.weight
        outputs, inputs = weight.shape
        found[path] = (outputs, inputs)
    return found
