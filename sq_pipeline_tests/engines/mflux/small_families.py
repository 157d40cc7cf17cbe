"""Z-Image and FLUX.2 klein as small as mflux's own classes can be made: every part of the pipeline, in a real folder.

mflux's transformers and text encoders take their sizes as constructor arguments, its VAEs' parts as well; only the
sizes are ours. `write_folder` saves random weights with mflux's own saver, and `small_sizes` makes its initializers
build these sizes, so that loading, rendering and training run through mflux's code as it is.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sq_pipeline.base_models.base_models import BASE_MODELS, QWEN_MODELS, Family, QwenModel, SizePx

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.flux2 import flux2_initializer
from mflux.models.flux2.model.flux2_text_encoder.qwen3_text_encoder import Qwen3TextEncoder
from mflux.models.flux2.model.flux2_transformer.transformer import Flux2Transformer
from mflux.models.flux2.model.flux2_vae.decoder.decoder import Flux2Decoder
from mflux.models.flux2.model.flux2_vae.encoder.encoder import Flux2Encoder
from mflux.models.flux2.model.flux2_vae.vae import Flux2VAE
from mflux.models.flux2.variants.txt2img.flux2_klein import Flux2Klein
from mflux.models.flux2.weights.flux2_weight_definition import Flux2KleinWeightDefinition
from mflux.models.z_image import z_image_initializer
from mflux.models.z_image.model.z_image_text_encoder.text_encoder import TextEncoder
from mflux.models.z_image.model.z_image_transformer.transformer import ZImageTransformer
from mflux.models.z_image.model.z_image_vae.common.unet_mid_block import UNetMidBlock
from mflux.models.z_image.model.z_image_vae.decoder.conv_in import ConvIn as DecoderConvIn
from mflux.models.z_image.model.z_image_vae.decoder.conv_norm_out import ConvNormOut as DecoderNormOut
from mflux.models.z_image.model.z_image_vae.decoder.conv_out import ConvOut as DecoderConvOut
from mflux.models.z_image.model.z_image_vae.decoder.up_decoder_block import UpDecoderBlock
from mflux.models.z_image.model.z_image_vae.encoder.conv_in import ConvIn as EncoderConvIn
from mflux.models.z_image.model.z_image_vae.encoder.conv_norm_out import ConvNormOut as EncoderNormOut
from mflux.models.z_image.model.z_image_vae.encoder.conv_out import ConvOut as EncoderConvOut
from mflux.models.z_image.model.z_image_vae.encoder.down_encoder_block import DownEncoderBlock
from mflux.models.z_image.model.z_image_vae.vae import VAE
from mflux.models.z_image.variants.z_image import ZImage
from mlx import nn
from mlx.utils import tree_map
from tokenizers import pre_tokenizers
from transformers import Qwen2TokenizerFast

from sq_pipeline.engines.mflux.dtype import use_float32

_END = "<|endoftext|>"
_TEMPLATE = "{% for message in messages %}user: {{ message['content'] }}. {% endfor %}assistant:"


@dataclass(frozen=True)
class Widths:
    """Of the VAE, of the text encoder (a head has half of it), and of Z-Image in heads of 128."""

    channels: int
    text: int
    z_image_heads: int

    def transformer(self, family: Family) -> dict[str, int]:
        """Arguments of the transformer's constructor."""
        heads, text = self.z_image_heads, self.text
        if family == "z-image":
            blocks = {"n_layers": 2, "n_refiner_layers": 1}
            return {"dim": 128 * heads, **blocks, "n_heads": heads, "cap_feat_dim": text}
        blocks = {"num_layers": 1, "num_single_layers": 2}
        return {**blocks, "num_attention_heads": 1, "joint_attention_dim": 3 * text}

    def encoder(self, layers: int) -> dict[str, int]:
        """Arguments of the text encoder's constructor."""
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": self.text // 2}
        sizes = {"hidden_size": self.text, "intermediate_size": 2 * self.text}
        return {"vocab_size": 300, **sizes, **heads, "num_hidden_layers": layers}


SMALLEST = Widths(channels=32, text=16, z_image_heads=1)
# MLX quantizes in groups of 64, and Z-Image's MLPs are 8/3 as wide as it is
QUANTIZABLE = Widths(channels=64, text=64, z_image_heads=3)


def small(name: str, widths: Widths = SMALLEST) -> QwenModel:
    """A base model of the registry at small sizes, in two steps of 48 × 32 pixels."""
    model = QWEN_MODELS[name]
    size = SizePx(48, 32)
    return replace(
        model,
        transformer_sizes=widths.transformer(model.family),
        num_inference_steps=2,
        sizes={"landscape": size},
        training_size=size,
        token_budget=512,
    )


class _SmallVae(VAE):
    """Z-Image's VAE with all channels alike; blocks, scaling and the eightfold width are as they are."""

    def __init__(self, c: int) -> None:
        super().__init__()
        encoder, decoder = self.encoder, self.decoder
        encoder.conv_in, decoder.conv_in = EncoderConvIn(3, c), DecoderConvIn(16, c)
        encoder.down_blocks = [DownEncoderBlock(c, c, num_layers=1, add_downsample=at < 3) for at in range(4)]
        decoder.up_blocks = [UpDecoderBlock(c, c, num_layers=1, add_upsample=at < 3) for at in range(4)]
        encoder.mid_block, decoder.mid_block = UNetMidBlock(channels=c), UNetMidBlock(channels=c)
        encoder.conv_norm_out, encoder.conv_out = EncoderNormOut(num_channels=c, num_groups=32), EncoderConvOut(c, 32)
        decoder.conv_norm_out, decoder.conv_out = DecoderNormOut(channels=c), DecoderConvOut(c, 3)


class _SmallFlux2Vae(Flux2VAE):
    """FLUX.2's VAE with all channels alike."""

    def __init__(self, c: int) -> None:
        super().__init__()
        channels = (c,) * 4
        self.encoder = Flux2Encoder(block_out_channels=channels, layers_per_block=1)
        self.decoder = Flux2Decoder(block_out_channels=channels, layers_per_block=1)


def _sized(kind: Callable[..., nn.Module], sizes: Mapping[str, int]) -> Callable[..., nn.Module]:
    """Whatever sizes mflux asks for, these are made."""
    return lambda **_sizes: kind(**sizes)


@contextlib.contextmanager
def small_sizes(widths: Widths = SMALLEST) -> Iterator[None]:
    """Within it, mflux builds both families small, and this product knows them so."""
    z, f = widths.transformer("z-image"), widths.transformer("flux2")
    with contextlib.ExitStack() as stack:
        for module, name, made in (
            (z_image_initializer, "ZImageTransformer", _sized(ZImageTransformer, z)),
            (z_image_initializer, "TextEncoder", _sized(TextEncoder, widths.encoder(2))),
            (z_image_initializer, "VAE", partial(_SmallVae, widths.channels)),
            (flux2_initializer, "Flux2Transformer", _sized(Flux2Transformer, f)),
            (flux2_initializer, "Qwen3TextEncoder", _sized(Qwen3TextEncoder, widths.encoder(28))),
            (flux2_initializer, "Flux2VAE", partial(_SmallFlux2Vae, widths.channels)),
        ):
            stack.enter_context(patch.object(module, name, made))
        stack.enter_context(patch.dict(BASE_MODELS, {name: small(name, widths) for name in QWEN_MODELS}))  # type: ignore[arg-type]
        yield


def write_folder(base_model: QwenModel, folder: Path, widths: Widths = SMALLEST) -> None:
    """A whole model with random weights, in the folders and files that mflux saves and loads."""
    with small_sizes(widths):
        use_float32()
        mx.random.seed(7)
        is_z = base_model.family == "z-image"
        model = (ZImage if is_z else Flux2Klein).__new__(ZImage if is_z else Flux2Klein)
        nn.Module.__init__(model)
        initializer = z_image_initializer.ZImageInitializer if is_z else flux2_initializer.Flux2Initializer
        model.model_config, model.small_text_encoder, model.small_decoder = _config(base_model), False, False
        initializer._init_models(model)
        for part in (model.transformer, model.text_encoder, model.vae):
            assert part is not None
            part.update(tree_map(_livelier, part.parameters()))
        model.bits, model.tokenizers = None, {}
        definition = z_image_initializer.ZImageWeightDefinition if is_z else Flux2KleinWeightDefinition
        tokenizer = _tokenizer()
        with patch.object(definition, "get_tokenizers", list):
            model.save_model(str(folder))
        tokenizer.save_pretrained(str(folder / "tokenizer"))


def _livelier(array: mx.array) -> mx.array:
    """Weights that were made as zeros would hide what they are multiplied with."""
    return array + 0.02 * mx.random.normal(array.shape)


def _config(base_model: QwenModel) -> Any:
    from mflux.models.common.config.model_config import AVAILABLE_MODELS

    return AVAILABLE_MODELS[base_model.mflux_name]


def _tokenizer() -> Qwen2TokenizerFast:
    """A Qwen2 tokenizer without merges: a token a byte."""
    alphabet = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = Qwen2TokenizerFast(vocab=alphabet, merges=[], unk_token=_END, eos_token=_END, pad_token=_END)
    fast.chat_template = _TEMPLATE
    return fast
