"""Every family that the installed mflux has a LoRA mapping for: a row each, with what builds its transformer.

A transformer is built at its real widths, and none of its weights is computed. Not here: asking mflux's loader about a
file (`loader_answers`), families that are rendered here (`families`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import mlx.core as mx
from mflux.models.common.config.model_config import AVAILABLE_MODELS, ModelConfig
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn


def _found(place: str) -> Any:
    """What `module:name` below `mflux.models` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"mflux.models.{module}"), name)


def _by_overrides(transformer: Callable[..., nn.Module], config: ModelConfig) -> nn.Module:
    return transformer(**(config.transformer_overrides or {}))


def _flux1(transformer: Callable[..., nn.Module], config: ModelConfig) -> nn.Module:
    return transformer(config, 19, 38)


def _ideogram4(transformer: Callable[..., nn.Module], _config: ModelConfig) -> nn.Module:
    made = transformer(_found("ideogram4.model.ideogram4_transformer.config:Ideogram4Config")())
    for _, layer in made.named_modules():
        if hasattr(layer, "out_features"):  # of FP8, which has no shape before its file is read
            layer.weight = mx.zeros((layer.out_features, layer.in_features), mx.uint8)
    return made


@dataclass(frozen=True)
class AdapterFamily:
    """`name`: as people call it. `mapping` and `transformer`: mflux's classes, as `module:name` below `mflux.models`.

    `models`: mflux's names of those whose widths differ, the first of each.
    """

    name: str
    mapping: str
    transformer: str
    models: tuple[str, ...]
    build: Callable[[Callable[..., nn.Module], ModelConfig], nn.Module] = _by_overrides

    def targets(self) -> list[LoRATarget]:
        """What mflux's loader looks for in a file."""
        return _found(self.mapping).get_mapping()

    def make_transformer(self, model: str) -> nn.Module:
        """The transformer of one of `models`, its weights not computed."""
        return self.build(_found(self.transformer), AVAILABLE_MODELS[model])


ADAPTER_FAMILIES = (
    AdapterFamily(
        "FLUX.1",
        "flux.weights.flux_lora_mapping:FluxLoRAMapping",
        "flux.model.flux_transformer.transformer:Transformer",
        ("dev",),
        _flux1,
    ),
    AdapterFamily(
        "Z-Image",
        "z_image.weights.z_image_lora_mapping:ZImageLoRAMapping",
        "z_image.model.z_image_transformer.transformer:ZImageTransformer",
        ("z-image",),
    ),
    AdapterFamily(
        "FLUX.2",
        "flux2.weights.flux2_lora_mapping:Flux2LoRAMapping",
        "flux2.model.flux2_transformer.transformer:Flux2Transformer",
        ("flux2-klein-4b", "flux2-klein-9b"),
    ),
    AdapterFamily(
        "FLUX.3",
        "flux3.weights.flux3_lora_mapping:Flux3LoRAMapping",
        "flux3.model.flux3_transformer.flux3_transformer:Flux3Transformer",
        ("flux3-image-klein",),
    ),
    AdapterFamily(
        "Qwen-Image",
        "qwen.weights.qwen_lora_mapping:QwenLoRAMapping",
        "qwen.model.qwen_transformer.qwen_transformer:QwenTransformer",
        ("qwen-image",),
    ),
    AdapterFamily(
        "Qwen-Image 2.1",
        "qwen21.weights.qwen21_lora_mapping:Qwen21LoRAMapping",
        "qwen21.model.qwen21_transformer.qwen21_transformer:Qwen21Transformer",
        ("qwen-image-2.1",),
    ),
    AdapterFamily(
        "ERNIE-Image",
        "ernie_image.weights.ernie_lora_mapping:ErnieLoRAMapping",
        "ernie_image.model.ernie_transformer.transformer:ErnieTransformer",
        ("ernie-image",),
    ),
    AdapterFamily(
        "Krea 2",
        "krea2.weights.krea2_lora_mapping:Krea2LoRAMapping",
        "krea2.model.krea2_transformer.transformer:Krea2Transformer",
        ("krea-2",),
    ),
    AdapterFamily(
        "Ideogram 4",
        "ideogram4.weights.ideogram4_lora_mapping:Ideogram4LoRAMapping",
        "ideogram4.model.ideogram4_transformer.transformer:Ideogram4Transformer",
        ("ideogram-4-fp8",),
        _ideogram4,
    ),
    AdapterFamily(
        "Anima",
        "anima.weights.anima_lora_mapping:AnimaLoRAMapping",
        "anima.model.anima_transformer.anima_transformer:AnimaTransformer",
        ("anima-base",),
    ),
    AdapterFamily(
        "MOSS-Image",
        "moss_image.weights.moss_image_lora_mapping:MOSSImageLoRAMapping",
        "moss_image.model.moss_image_transformer.moss_image_transformer:MOSSImageTransformer",
        ("moss-image-base",),
    ),
    AdapterFamily(
        "FIBO 2",
        "fibo2.weights.fibo2_lora_mapping:Fibo2LoRAMapping",
        "fibo2.model.fibo2_transformer.fibo2_transformer:Fibo2Transformer",
        ("fibo2",),
    ),
)
