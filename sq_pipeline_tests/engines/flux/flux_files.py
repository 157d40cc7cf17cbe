"""FLUX.1 transformer files for tests, in both layouts, from one set of random tensors.

The names are written out here as they stand in the published files, so that a wrong name in the code under test meets
a right one. Sources: the keys of black-forest-labs/FLUX.1-dev's `transformer/` index and of `flux1-dev.safetensors`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from sq_pipeline.engines.flux.network import FluxDims

Arrays = dict[str, npt.NDArray[np.float32]]

# diffusers' module: (BFL's module, outputs, inputs); `h` is the hidden size; no inputs for a norm
_TOP = """
x_embedder                                img_in                          h      latent
context_embedder                          txt_in                          h      text
time_text_embed.timestep_embedder.linear_1 time_in.in_layer               h      256
time_text_embed.timestep_embedder.linear_2 time_in.out_layer              h      h
time_text_embed.text_embedder.linear_1    vector_in.in_layer              h      pooled
time_text_embed.text_embedder.linear_2    vector_in.out_layer             h      h
norm_out.linear                           final_layer.adaLN_modulation.1  2*h    h
proj_out                                  final_layer.linear              latent h
"""
_GUIDANCE = """
time_text_embed.guidance_embedder.linear_1 guidance_in.in_layer           h      256
time_text_embed.guidance_embedder.linear_2 guidance_in.out_layer          h      h
"""
_DOUBLE = """
norm1.linear          img_mod.lin                   6*h h
norm1_context.linear  txt_mod.lin                   6*h h
attn.to_q             img_attn.qkv                  h   h
attn.to_k             img_attn.qkv                  h   h
attn.to_v             img_attn.qkv                  h   h
attn.add_q_proj       txt_attn.qkv                  h   h
attn.add_k_proj       txt_attn.qkv                  h   h
attn.add_v_proj       txt_attn.qkv                  h   h
attn.norm_q           img_attn.norm.query_norm      128 -
attn.norm_k           img_attn.norm.key_norm        128 -
attn.norm_added_q     txt_attn.norm.query_norm      128 -
attn.norm_added_k     txt_attn.norm.key_norm        128 -
attn.to_out.0         img_attn.proj                 h   h
attn.to_add_out       txt_attn.proj                 h   h
ff.net.0.proj         img_mlp.0                     4*h h
ff.net.2              img_mlp.2                     h   4*h
ff_context.net.0.proj txt_mlp.0                     4*h h
ff_context.net.2      txt_mlp.2                     h   4*h
"""
_SINGLE = """
norm.linear           modulation.lin                3*h h
attn.to_q             linear1                       h   h
attn.to_k             linear1                       h   h
attn.to_v             linear1                       h   h
proj_mlp              linear1                       4*h h
attn.norm_q           norm.query_norm               128 -
attn.norm_k           norm.key_norm                 128 -
proj_out              linear2                       h   5*h
"""


def _rows(dims: FluxDims) -> list[tuple[str, str, str, str]]:
    """Every module of a model: diffusers' name, BFL's name, outputs, inputs."""

    def table(text: str, theirs: str = "", bfl: str = "") -> list[tuple[str, str, str, str]]:
        lines = (line.split() for line in text.strip().splitlines())
        return [(theirs + name, bfl + target, outputs, inputs) for name, target, outputs, inputs in lines]

    rows = table(_TOP) + (table(_GUIDANCE) if dims.takes_guidance else [])
    for index in range(dims.double_blocks):
        rows += table(_DOUBLE, f"transformer_blocks.{index}.", f"double_blocks.{index}.")
    for index in range(dims.single_blocks):
        rows += table(_SINGLE, f"single_transformer_blocks.{index}.", f"single_blocks.{index}.")
    return rows


def diffusers_shapes(dims: FluxDims) -> dict[str, tuple[int, ...]]:
    """Every tensor of the `transformer/` folder."""
    sizes = {"h": dims.hidden_size, "latent": dims.latent_size, "text": dims.text_size, "pooled": dims.pooled_size}

    def size_of(text: str) -> int:
        factor, _, unit = text.rpartition("*")
        return int(factor or 1) * (sizes[unit] if unit in sizes else int(unit))

    shapes: dict[str, tuple[int, ...]] = {}
    for name, _, outputs, inputs in _rows(dims):
        if inputs == "-":
            shapes[f"{name}.weight"] = (size_of(outputs),)
        else:
            shapes[f"{name}.weight"] = (size_of(outputs), size_of(inputs))
            shapes[f"{name}.bias"] = (size_of(outputs),)
    return shapes


def diffusers_arrays(dims: FluxDims, seed: int) -> Arrays:
    """Random tensors under diffusers' names; norms and biases are random too."""
    numbers = np.random.default_rng(seed)
    arrays: Arrays = {}
    for name, shape in diffusers_shapes(dims).items():
        mean = 1 if ".norm_" in name else 0
        arrays[name] = (mean + 0.06 * numbers.standard_normal(shape)).astype(np.float32)
    return arrays


def bfl_arrays(dims: FluxDims, arrays: Arrays) -> Arrays:
    """The same tensors as BFL's file has them."""
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    for name, bfl, _, inputs in _rows(dims):
        if inputs == "-":
            parts[f"{bfl}.scale"] = [arrays[f"{name}.weight"]]
            continue
        for kind in ("weight", "bias"):
            array = arrays[f"{name}.{kind}"]
            if name == "norm_out.linear":
                half = len(array) // 2
                array = np.concatenate([array[half:], array[:half]])  # scale, shift → shift, scale
            parts.setdefault(f"{bfl}.{kind}", []).append(array)
    return {name: np.concatenate(found) for name, found in parts.items()}


def shard_name(number: int, count: int) -> str:
    """The published name of a shard."""
    return f"diffusion_pytorch_model-{number:05d}-of-{count:05d}.safetensors"


def write_diffusers(root: Path, arrays: Mapping[str, npt.NDArray[np.float32]], shards: int = 3) -> Path:
    """`root/transformer` with shards that cut through blocks, and their index; returns the folder."""
    folder = root / "transformer"
    folder.mkdir(parents=True)
    names = sorted(arrays)
    cuts = [round(at * len(names) / shards) for at in range(shards + 1)]
    weight_map: dict[str, str] = {}
    for number in range(1, shards + 1):
        chosen = names[cuts[number - 1] : cuts[number]]
        file = shard_name(number, shards)
        save_file({name: arrays[name] for name in chosen}, folder / file)
        weight_map |= dict.fromkeys(chosen, file)
    total = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder
