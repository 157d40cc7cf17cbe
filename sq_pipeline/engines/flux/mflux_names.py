"""FLUX.1's weights from the BFL layout to the names of mflux's transformer. Not here: adapters (`flux_layers`)."""

import re
from collections.abc import Mapping

import mlx.core as mx

_TOP = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.layers.1": "norm_out.linear",
}
DOUBLE_NAMES = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.layers.0": "ff.linear1",
    "img_mlp.layers.2": "ff.linear2",
    "txt_mlp.layers.0": "ff_context.linear1",
    "txt_mlp.layers.2": "ff_context.linear2",
}
SINGLE_NAMES = {
    "modulation.lin": "norm.linear",
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": "proj_out",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}
_BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")


def to_mflux_weights(weights: Mapping[str, mx.array], hidden_size: int) -> dict[str, mx.array]:
    """BFL names (`….weight`, `….bias`) → mflux names; fused q/k/v and MLP rows are split.

    The final modulation's halves change places: BFL has shift first, mflux scale. Raises KeyError for a
    name that FLUX.1 does not have.
    """
    renamed: dict[str, mx.array] = {}
    for name, array in weights.items():
        module, _, kind = name.rpartition(".")
        targets = mflux_targets(module)
        if targets == ("norm_out.linear",):
            array = swap_halves(array)
        cuts = [hidden_size * part for part in range(1, len(targets))]
        pieces = mx.split(array, cuts, axis=0) if cuts else [array]
        for target, piece in zip(targets, pieces, strict=True):
            renamed[f"{target}.{kind}"] = piece
    return renamed


def mflux_targets(module: str) -> tuple[str, ...]:
    """The mflux modules that hold a BFL module's rows, in order: more than one where BFL has them fused.

    Raises KeyError for a module that FLUX.1 does not have.
    """
    block = _BLOCK.fullmatch(module)
    if not block:
        return (_TOP[module],)
    names, blocks = (
        (DOUBLE_NAMES, "transformer_blocks") if block[1] == "double" else (SINGLE_NAMES, "single_transformer_blocks")
    )
    target = names[block[3]]
    parts = (target,) if isinstance(target, str) else target
    return tuple(f"{blocks}.{block[2]}.{part}" for part in parts)


def swap_halves(array: mx.array) -> mx.array:
    """The two halves of the first axis in each other's place: a final modulation from one layout to the other."""
    first, second = mx.split(array, 2, axis=0)
    return mx.concatenate([second, first], axis=0)
