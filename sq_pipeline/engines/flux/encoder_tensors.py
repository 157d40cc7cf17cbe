"""The tensors of FLUX.1's text encoders and VAE as the Hugging Face layout names them, and the shapes they must have.

Sources: transformers' `T5EncoderModel` and `CLIPTextModel`, diffusers' `AutoencoderKL`, and the sizes in the
`config.json` of `text_encoder_2/`, `text_encoder/` and `vae/`. Not here: files (`encoder_files`), numbers (`encoders`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from sq_pipeline.engines.flux.weight_files import Part

Shapes = dict[str, tuple[int, ...]]

_T5_BLOCKS, _T5_HEADS, _T5_BUCKETS = 24, 64, 32
_CLIP_LAYERS, _CLIP_HEADS, _CLIP_TOKENS = 12, 12, 77
_HEAD_SIZE = 64
LATENT_CHANNELS = 16


@dataclass(frozen=True)
class EncoderDims:
    """The widths of T5-XXL, CLIP-L and FLUX.1's VAE. Depths, heads and latent channels are mflux's and not to choose.

    `*_words` are rows of an embedding; `vae_channels` go from the picture to the latents, multiples of 32.
    """

    text_size: int = 4096
    text_hidden_size: int = 10240
    text_words: int = 32128
    pooled_size: int = 768
    pooled_hidden_size: int = 3072
    pooled_words: int = 49408
    vae_channels: tuple[int, int, int, int] = (128, 256, 512, 512)


def t5_shapes(dims: EncoderDims) -> Shapes:
    """`text_encoder_2/`. The first block holds the position bias of all."""
    size, inner, hidden = dims.text_size, _T5_HEADS * _HEAD_SIZE, dims.text_hidden_size
    shapes: Shapes = {
        "shared.weight": (dims.text_words, size),
        "encoder.final_layer_norm.weight": (size,),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (_T5_BUCKETS, _T5_HEADS),
    }
    for index in range(_T5_BLOCKS):
        block = f"encoder.block.{index}.layer"
        for name in "qkv":
            shapes[f"{block}.0.SelfAttention.{name}.weight"] = (inner, size)
        shapes[f"{block}.0.SelfAttention.o.weight"] = (size, inner)
        shapes[f"{block}.0.layer_norm.weight"] = (size,)
        shapes[f"{block}.1.DenseReluDense.wi_0.weight"] = (hidden, size)
        shapes[f"{block}.1.DenseReluDense.wi_1.weight"] = (hidden, size)
        shapes[f"{block}.1.DenseReluDense.wo.weight"] = (size, hidden)
        shapes[f"{block}.1.layer_norm.weight"] = (size,)
    return shapes


def clip_shapes(dims: EncoderDims) -> Shapes:
    """`text_encoder/`."""
    size, inner, hidden = dims.pooled_size, _CLIP_HEADS * _HEAD_SIZE, dims.pooled_hidden_size
    shapes: Shapes = {
        "text_model.embeddings.token_embedding.weight": (dims.pooled_words, size),
        "text_model.embeddings.position_embedding.weight": (_CLIP_TOKENS, size),
        **_with_bias("text_model.final_layer_norm", (size,)),
    }
    for index in range(_CLIP_LAYERS):
        layer = f"text_model.encoder.layers.{index}"
        for name in "qkv":
            shapes |= _with_bias(f"{layer}.self_attn.{name}_proj", (inner, size))
        shapes |= _with_bias(f"{layer}.self_attn.out_proj", (size, inner))
        shapes |= _with_bias(f"{layer}.mlp.fc1", (hidden, size))
        shapes |= _with_bias(f"{layer}.mlp.fc2", (size, hidden))
        shapes |= _with_bias(f"{layer}.layer_norm1", (size,)) | _with_bias(f"{layer}.layer_norm2", (size,))
    return shapes


def vae_shapes(dims: EncoderDims) -> Shapes:
    """`vae/`: its two halves, whose names begin with `encoder.` and `decoder.`."""
    channels = dims.vae_channels
    first, last = channels[0], channels[-1]
    # the encoder's last convolution gives the latents' mean and variance
    ends = {"encoder": (3, first, last, 2 * LATENT_CHANNELS), "decoder": (LATENT_CHANNELS, last, first, 3)}
    shapes: Shapes = {}
    for half, (given, after_in, before_out, made) in ends.items():
        shapes |= _convolution(f"{half}.conv_in", given, after_in)
        shapes |= _with_bias(f"{half}.conv_norm_out", (before_out,))
        shapes |= _convolution(f"{half}.conv_out", before_out, made)
        shapes |= _with_bias(f"{half}.mid_block.attentions.0.group_norm", (last,))
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            shapes |= _with_bias(f"{half}.mid_block.attentions.0.{name}", (last, last))
        for index in range(2):
            shapes |= _resnet(f"{half}.mid_block.resnets.{index}", last, last)
    for name, resnets, steps, sampler in (
        ("encoder.down_blocks", 2, (first, *channels), "downsamplers"),
        ("decoder.up_blocks", 3, (last, *reversed(channels)), "upsamplers"),
    ):
        for block, (inputs, outputs) in enumerate(pairwise(steps)):
            for index in range(resnets):
                shapes |= _resnet(f"{name}.{block}.resnets.{index}", outputs if index else inputs, outputs)
            if block < len(channels) - 1:
                shapes |= _convolution(f"{name}.{block}.{sampler}.0.conv", outputs, outputs)
    return shapes


def _with_bias(module: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{module}.weight": shape, f"{module}.bias": shape[:1]}


def _convolution(module: str, inputs: int, outputs: int, side: int = 3) -> Shapes:
    return _with_bias(module, (outputs, inputs, side, side))


def _resnet(module: str, inputs: int, outputs: int) -> Shapes:
    shapes = _with_bias(f"{module}.norm1", (inputs,)) | _convolution(f"{module}.conv1", inputs, outputs)
    shapes |= _with_bias(f"{module}.norm2", (outputs,)) | _convolution(f"{module}.conv2", outputs, outputs)
    return shapes | (_convolution(f"{module}.conv_shortcut", inputs, outputs, side=1) if inputs != outputs else {})


@dataclass(frozen=True)
class EncoderPart:
    """One of the three: where it is, what it is called to people, its tensors, and what else its files may hold.

    `unused` are copies and tables that other programs write, and that mflux does not read either.
    """

    part: Part
    what: str
    shapes: Callable[[EncoderDims], Shapes]
    unused: frozenset[str] = frozenset()


T5 = EncoderPart(
    Part("text_encoder_2", "model"), "FLUX.1's T5 encoder", t5_shapes, frozenset({"encoder.embed_tokens.weight"})
)
CLIP = EncoderPart(
    Part("text_encoder", "model"),
    "FLUX.1's CLIP encoder",
    clip_shapes,
    frozenset({"text_model.embeddings.position_ids", "text_projection.weight"}),
)
VAE = EncoderPart(Part("vae", "diffusion_pytorch_model"), "FLUX.1's VAE", vae_shapes)
PARTS = (CLIP, T5, VAE)
