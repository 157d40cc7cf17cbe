"""FLUX.1's transformer in the BFL layout: fused q/k/v, the module names that mlx-examples' adapters carry.

Here: the forward pass. Not here: reading weights (`weights`), what is kept of it for the backward pass
(`gradient_checkpointing`), training (`engines.trainers.mlx.trainer`).
The arithmetic follows mflux's transformer step by step, because that is what renders: the image
stream's MLP uses the exact GELU there and the text stream's the tanh form. Architecture: Black Forest
Labs, FLUX.1 (Esser et al. 2024, "Scaling Rectified Flow Transformers", section 4, and its parallel
single-stream blocks).
"""

import math
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx import nn

from sq_pipeline.engines.flux.activations import gelu, gelu_approx
from sq_pipeline.engines.flux.gradient_checkpointing import call_checkpointed

_AXES = (16, 56, 56)
_THETA = 10_000.0


@dataclass(frozen=True)
class FluxDims:
    """The sizes of one FLUX.1. Head width is always 128 = 16 + 56 + 56 rotary channels."""

    hidden_size: int
    double_blocks: int
    single_blocks: int
    text_size: int
    pooled_size: int
    latent_size: int = 64
    time_size: int = 256
    takes_guidance: bool = False
    fast_activations: bool = False  # see `activations`: worth it when training on a CPU

    @property
    def heads(self) -> int:
        """Attention heads of width 128."""
        return self.hidden_size // 128


def timestep_embedding(times: mx.array, size: int) -> mx.array:
    """Sinusoidal embedding of `times` (batch,), already in 0–1000 → (batch, size) float32; cosines first."""
    half = size // 2
    frequencies = mx.exp(-math.log(10_000.0) * mx.arange(half, dtype=mx.float32) / half)
    angles = times[:, None].astype(mx.float32) * frequencies[None]
    return mx.concatenate([mx.cos(angles), mx.sin(angles)], axis=-1)


def rotary_table(text_tokens: int, rows: int, columns: int, stride: float = 1) -> tuple[mx.array, mx.array]:
    """Cosines and sines of the rotary positions, each (1, 1, tokens, 64): text at 0, then patches row by row.

    With a `stride` each patch stands for so many in both directions, and has the position of their middle.
    """
    grid_rows = mx.repeat(mx.arange(rows), columns) * stride + (stride - 1) / 2
    grid_columns = mx.tile(mx.arange(columns), rows) * stride + (stride - 1) / 2
    text = mx.zeros((text_tokens,), dtype=mx.float32)
    angles: list[mx.array] = []
    for axis, size in enumerate(_AXES):
        patches = (mx.zeros_like(grid_rows), grid_rows, grid_columns)[axis].astype(mx.float32)
        positions = mx.concatenate([text, patches])
        omega = 1.0 / (_THETA ** (mx.arange(0, size, 2, dtype=mx.float32) / size))
        angles.append(positions[:, None] * omega[None])
    table = mx.concatenate(angles, axis=-1)[None, None]
    return mx.cos(table), mx.sin(table)


def _rotate(x: mx.array, rotary: tuple[mx.array, mx.array]) -> mx.array:
    cos, sin = rotary
    pairs = x.astype(mx.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = mx.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)


class _QKNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query_norm = nn.RMSNorm(128)
        self.key_norm = nn.RMSNorm(128)


def _heads(qkv: mx.array, heads: int, norm: _QKNorm) -> tuple[mx.array, mx.array, mx.array]:
    batch, tokens, _ = qkv.shape
    split = qkv.reshape(batch, tokens, 3, heads, 128).transpose(2, 0, 3, 1, 4)
    return norm.query_norm(split[0]), norm.key_norm(split[1]), split[2]


def _attend(q: mx.array, k: mx.array, v: mx.array, rotary: tuple[mx.array, mx.array]) -> mx.array:
    mixed = mx.fast.scaled_dot_product_attention(_rotate(q, rotary), _rotate(k, rotary), v, scale=128**-0.5)
    batch, heads, tokens, width = mixed.shape
    return mixed.transpose(0, 2, 1, 3).reshape(batch, tokens, heads * width)


class _Modulation(nn.Module):
    def __init__(self, hidden: int, parts: int) -> None:
        super().__init__()
        self._parts = parts
        self.lin = nn.Linear(hidden, parts * hidden)

    def __call__(self, activated: mx.array) -> list[mx.array]:
        return mx.split(self.lin(activated)[:, None], self._parts, axis=-1)


class _MLPEmbedder(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(inputs, hidden)
        self.out_layer = nn.Linear(hidden, hidden)

    def __call__(self, x: mx.array) -> mx.array:
        return self.out_layer(nn.silu(self.in_layer(x)))


class _SelfAttention(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.norm = _QKNorm()
        self.proj = nn.Linear(hidden, hidden)


class _GELU(nn.Module):
    def __init__(self, *, is_exact: bool, is_fast: bool) -> None:
        super().__init__()
        self._function, self._is_fast = (gelu if is_exact else gelu_approx), is_fast

    def __call__(self, x: mx.array) -> mx.array:
        return self._function(x, is_fast=self._is_fast)


def _mlp(dims: FluxDims, *, is_exact: bool) -> nn.Sequential:
    hidden = dims.hidden_size
    activation = _GELU(is_exact=is_exact, is_fast=dims.fast_activations)
    return nn.Sequential(nn.Linear(hidden, 4 * hidden), activation, nn.Linear(4 * hidden, hidden))


class DoubleBlock(nn.Module):
    """Image and text streams with their own weights, attending to each other."""

    def __init__(self, dims: FluxDims) -> None:
        super().__init__()
        hidden = dims.hidden_size
        self._heads = dims.heads
        self.img_mod = _Modulation(hidden, 6)
        self.img_norm1 = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.img_attn = _SelfAttention(hidden)
        self.img_norm2 = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.img_mlp = _mlp(dims, is_exact=True)
        self.txt_mod = _Modulation(hidden, 6)
        self.txt_norm1 = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.txt_attn = _SelfAttention(hidden)
        self.txt_norm2 = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.txt_mlp = _mlp(dims, is_exact=False)

    def __call__(
        self,
        img: mx.array,
        txt: mx.array,
        activated: mx.array,
        rotary: tuple[mx.array, mx.array],
    ) -> tuple[mx.array, mx.array]:
        i_shift1, i_scale1, i_gate1, i_shift2, i_scale2, i_gate2 = self.img_mod(activated)
        t_shift1, t_scale1, t_gate1, t_shift2, t_scale2, t_gate2 = self.txt_mod(activated)
        i_qkv = self.img_attn.qkv((1 + i_scale1) * self.img_norm1(img) + i_shift1)
        t_qkv = self.txt_attn.qkv((1 + t_scale1) * self.txt_norm1(txt) + t_shift1)
        i_q, i_k, i_v = _heads(i_qkv, self._heads, self.img_attn.norm)
        t_q, t_k, t_v = _heads(t_qkv, self._heads, self.txt_attn.norm)
        q, k, v = (mx.concatenate(pair, axis=2) for pair in ((t_q, i_q), (t_k, i_k), (t_v, i_v)))
        mixed = _attend(q, k, v, rotary)
        tokens = txt.shape[1]
        img = img + i_gate1 * self.img_attn.proj(mixed[:, tokens:])
        img = img + i_gate2 * self.img_mlp((1 + i_scale2) * self.img_norm2(img) + i_shift2)
        txt = txt + t_gate1 * self.txt_attn.proj(mixed[:, :tokens])
        txt = txt + t_gate2 * self.txt_mlp((1 + t_scale2) * self.txt_norm2(txt) + t_shift2)
        return img, txt


class SingleBlock(nn.Module):
    """One stream over text and image; attention and MLP run side by side out of one fused layer."""

    def __init__(self, dims: FluxDims) -> None:
        super().__init__()
        hidden = dims.hidden_size
        self._heads, self._hidden, self._is_fast = (
            dims.heads,
            hidden,
            dims.fast_activations,
        )
        self.linear1 = nn.Linear(hidden, 7 * hidden)
        self.linear2 = nn.Linear(5 * hidden, hidden)
        self.norm = _QKNorm()
        self.pre_norm = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.modulation = _Modulation(hidden, 3)

    def __call__(self, x: mx.array, activated: mx.array, rotary: tuple[mx.array, mx.array]) -> mx.array:
        shift, scale, gate = self.modulation(activated)
        qkv, mlp = mx.split(
            self.linear1((1 + scale) * self.pre_norm(x) + shift),
            [3 * self._hidden],
            axis=-1,
        )
        q, k, v = _heads(qkv, self._heads, self.norm)
        mixed = mx.concatenate([_attend(q, k, v, rotary), gelu_approx(mlp, is_fast=self._is_fast)], axis=-1)
        return x + gate * self.linear2(mixed)


class _FinalLayer(nn.Module):
    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(hidden, eps=1e-6, affine=False)
        self.linear = nn.Linear(hidden, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def __call__(self, x: mx.array, conditioning: mx.array) -> mx.array:
        shift, scale = mx.split(self.adaLN_modulation(conditioning)[:, None], 2, axis=-1)
        return self.linear((1 + scale) * self.norm_final(x) + shift)


def _call(block: nn.Module, *arguments: Any) -> Any:
    return block(*arguments)


class Flux(nn.Module):
    """Predicts the velocity `noise − picture` of flow matching.

    Call with latents (batch, rows·columns, 64), text (batch, tokens, text_size), pooled text (batch,
    pooled_size) and times (batch,) in 0–1, where 1 is pure noise; returns (batch, rows·columns, 64). It computes in
    bfloat16 where weights, latents and texts are bfloat16, else in float32. `guidance` is (batch,), as in 3.5.
    `patch_stride`: see `rotary_table`.

    With `checkpoints_blocks` a gradient computes each block's inside again instead of keeping it: gradient
    checkpointing, per block. Values and gradients stay what they are, memory becomes time.
    """

    def __init__(self, dims: FluxDims) -> None:
        super().__init__()
        self.checkpoints_blocks = False
        self._dims = dims
        hidden = dims.hidden_size
        self.img_in = nn.Linear(dims.latent_size, hidden)
        self.time_in = _MLPEmbedder(dims.time_size, hidden)
        self.vector_in = _MLPEmbedder(dims.pooled_size, hidden)
        if dims.takes_guidance:
            self.guidance_in = _MLPEmbedder(dims.time_size, hidden)
        self.txt_in = nn.Linear(dims.text_size, hidden)
        self.double_blocks = [DoubleBlock(dims) for _ in range(dims.double_blocks)]
        self.single_blocks = [SingleBlock(dims) for _ in range(dims.single_blocks)]
        self.final_layer = _FinalLayer(hidden, dims.latent_size)

    @property
    def dims(self) -> FluxDims:
        """The sizes this network was made with."""
        return self._dims

    def __call__(
        self,
        latents: mx.array,
        text: mx.array,
        pooled: mx.array,
        times: mx.array,
        grid: tuple[int, int],
        guidance: mx.array | None = None,
        patch_stride: float = 1,
    ) -> mx.array:
        if latents.shape[1] != grid[0] * grid[1]:
            raise ValueError(f"{latents.shape[1]} latent tokens do not fill a grid of {grid[0]}×{grid[1]}")
        img, txt = self.img_in(latents), self.txt_in(text)
        conditioning = self.time_in(timestep_embedding(times * 1000, self._dims.time_size))
        if self._dims.takes_guidance:
            if guidance is None:
                raise ValueError("this model takes a guidance value")
            conditioning = conditioning + self.guidance_in(timestep_embedding(guidance * 1000, self._dims.time_size))
        # the embeddings of times are float32, and would make all that a bfloat16 stream meets float32
        conditioning = (conditioning + self.vector_in(pooled)).astype(img.dtype)
        # once for all blocks: MLX 0.32's `compile` fails on a gradient in which it finds the same one again and again
        activated = nn.silu(conditioning)
        rotary = rotary_table(txt.shape[1], *grid, patch_stride)
        call = call_checkpointed if self.checkpoints_blocks else _call
        for block in self.double_blocks:
            img, txt = call(block, img, txt, activated, rotary)
        stream = mx.concatenate([txt, img], axis=1)
        for block in self.single_blocks:
            stream = call(block, stream, activated, rotary)
        return self.final_layer(stream[:, txt.shape[1] :], conditioning)
