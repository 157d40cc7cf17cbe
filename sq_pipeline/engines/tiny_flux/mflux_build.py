"""An mflux `Flux1` with tiny-flux inside. mflux's `generate_image`, scheduler, transformer forward, attention,
LoRA loader and image writing run as they are; here is only what writes a width into code, and why.

* `AdaLayerNormZero` cuts its output at 18432 // 6: a subclass cuts at this model's width.
* `AdaLayerNormZeroSingle.dim`, `AdaLayerNormContinuous.embedding_dim`, `num_heads` are attributes that the
  constructors set to FLUX.1's numbers: they are set again.
* `LoraTransforms._split_qkv_mlp_up` cuts a fused `linear1` at [3072, 3072, 3072, 12288]: the mapping's
  four entries for it get this model's sizes.
* T5, CLIP and the VAE are sized in their constructors: tiny-flux has its own (`text`, `vae`).
* `Flux1.__init__` finds weights by FLUX.1's file names: the object is made without it, and filled here.

Linear layers need nothing: MLX takes their width from the weights that are put in.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import mlx.core as mx
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mflux.models.common.lora.mapping.lora_transforms import LoraTransforms
from mflux.models.common.tokenizer.tokenizer import LanguageTokenizer
from mflux.models.common.weights.loading.loaded_weights import LoadedWeights, MetaData
from mflux.models.common.weights.loading.weight_applier import WeightApplier
from mflux.models.flux.flux_initializer import FluxInitializer
from mflux.models.flux.model.flux_transformer.ada_layer_norm_zero import (
    AdaLayerNormZero,
)
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mflux.models.flux.variants.txt2img.flux import Flux1
from mflux.models.flux.weights.flux_lora_mapping import FluxLoRAMapping
from mflux.models.flux.weights.flux_weight_definition import FluxWeightDefinition
from mlx import nn
from mlx.utils import tree_flatten
from transformers import PreTrainedTokenizerFast

from sq_pipeline.base_models.base_models import FLUX1_MODELS, RenderBits
from sq_pipeline.engines.flux.mflux_names import to_mflux_weights
from sq_pipeline.engines.tiny_flux import model, text

_BASE = FLUX1_MODELS["tiny-flux"]


class _SmallAdaLayerNormZero(AdaLayerNormZero):
    """mflux's layer with the six parts cut at the width of its own weights."""

    def __call__(
        self, hidden_states: mx.array, text_embeddings: mx.array
    ) -> tuple[mx.array, mx.array, mx.array, mx.array, mx.array]:
        parts = mx.split(self.linear(nn.silu(text_embeddings)), 6, axis=-1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = parts
        hidden_states = self.norm(hidden_states) * (1 + scale_msa[:, None]) + shift_msa[:, None]
        return hidden_states, gate_msa, shift_mlp, scale_mlp, gate_mlp


def model_config() -> ModelConfig:
    """mflux's own description of a model, with tiny-flux's numbers."""
    return ModelConfig(
        priority=0,
        aliases=[_BASE.name],
        model_name=_BASE.name,
        base_model=None,
        controlnet_model=None,
        custom_transformer_model=None,
        num_train_steps=1000,
        max_sequence_length=_BASE.t5_token_budget,
        supports_guidance=False,
        requires_sigma_shift=True,
        sigma_base_shift=model.TIME_SHIFT,
        sigma_max_shift=model.TIME_SHIFT,
    )


def shrink_transformer(transformer: Transformer, hidden_size: int) -> None:
    """Set the widths that mflux's constructors wrote into a `Transformer`, in place."""
    heads = hidden_size // 128
    for block in transformer.transformer_blocks:
        block.norm1, block.norm1_context = (
            _SmallAdaLayerNormZero(),
            _SmallAdaLayerNormZero(),
        )
        block.attn.num_heads = heads
    for block in transformer.single_transformer_blocks:
        block.norm.dim = hidden_size
        block.attn.num_heads = heads
    transformer.norm_out.embedding_dim = hidden_size


def small_lora_mapping(hidden_size: int) -> list[LoRATarget]:
    """mflux's own FLUX.1 mapping, with the split of a fused `linear1` at this width."""
    sizes = [hidden_size] * 3 + [4 * hidden_size]
    splits: dict[Callable[[mx.array], mx.array], int] = {
        LoraTransforms.split_single_q_up: 0,
        LoraTransforms.split_single_k_up: 1,
        LoraTransforms.split_single_v_up: 2,
        LoraTransforms.split_single_mlp_up: 3,
    }
    targets: list[LoRATarget] = []
    for target in FluxLoRAMapping.get_mapping():
        if target.up_transform in splits:
            split = partial(
                LoraTransforms._split_qkv_mlp_up,
                index=splits[target.up_transform],
                dims=sizes,
            )
            target = replace(target, up_transform=split)
        targets.append(target)
    return targets


def build(folder: Path, bits: RenderBits | None = None) -> Flux1:
    """tiny-flux from its folder, ready for `generate_image`; with `bits` quantized as mflux quantizes a FLUX.1.

    Raises BaseModelError.
    """
    parts = model.load_parts(folder)
    config = model_config()
    flux = Flux1.__new__(Flux1)
    nn.Module.__init__(flux)
    FluxInitializer._init_config(flux, config)
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / model.TOKENIZER_FILE),
        pad_token=text.PAD,
        eos_token=text.END,
    )
    # "longest": a prompt alone needs no padding, and tiny-flux was trained to read with any amount of it
    flux.tokenizers = {
        "t5": LanguageTokenizer(fast, max_length=_BASE.t5_token_budget, padding="longest"),
        "clip": LanguageTokenizer(fast, max_length=_BASE.clip_token_budget, padding="longest"),
    }
    flux.vae, flux.t5_text_encoder, flux.clip_text_encoder = (
        parts.vae,
        parts.t5,
        parts.clip,
    )
    transformer = Transformer(config, _BASE.double_blocks, _BASE.single_blocks)
    shrink_transformer(transformer, _BASE.hidden_size)
    weights = to_mflux_weights(dict(tree_flatten(parts.transformer.parameters())), _BASE.hidden_size)
    transformer.load_weights(list(weights.items()), strict=False)
    flux.transformer = transformer
    flux.bits = WeightApplier.apply_and_quantize(
        weights=LoadedWeights(components={}, meta_data=MetaData()),  # the weights are in already
        models={
            "vae": flux.vae,
            "transformer": transformer,
            "t5_encoder": flux.t5_text_encoder,
            "clip_encoder": flux.clip_text_encoder,
        },
        quantize_arg=bits,
        weight_definition=FluxWeightDefinition,
    )
    flux.lora_paths, flux.lora_scales = [], []
    mx.eval(flux.parameters())
    return flux
