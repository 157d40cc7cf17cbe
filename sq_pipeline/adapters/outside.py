"""FLUX.1's modules outside its blocks, and the other things in adapter files that are no update of a block.

Kohya's names and diffusers' hold these modules; mflux and mlx-examples know a LoRA of blocks alone (read in mflux
0.24.0 `flux_lora_mapping.py`, diffusers 0.42.1 `lora_conversion_utils.py`, ComfyUI `comfy/lora.py`, sd-scripts
`lora_flux.py`).
They are here and not in keymaps: a keymap's rules are what adapters are made from, and these change none of those.
"""

import re
from collections.abc import Mapping

from sq_pipeline.adapters.dialects import module_name
from sq_pipeline.adapters.keymap import Keymap, Renamed

# BFL's name, which is the internal form's: diffusers' name
_IN = {"time_in": "timestep_embedder", "vector_in": "text_embedder", "guidance_in": "guidance_embedder"}
OUTSIDE: Mapping[str, str] = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    **{f"{bfl}.in_layer": f"time_text_embed.{name}.linear_1" for bfl, name in _IN.items()},
    **{f"{bfl}.out_layer": f"time_text_embed.{name}.linear_2" for bfl, name in _IN.items()},
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
# diffusers has scale before shift there, Black Forest Labs shift before scale (`swap_scale_shift`)
_SWAPPED = "final_layer.adaLN_modulation.1"
_ENDINGS = {
    "kohya": {"lora_a": "lora_down.weight", "lora_b": "lora_up.weight"},
    "diffusers": {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"},
}
HOLDING = tuple(_ENDINGS)  # the targets that hold them
_PREFIXES = ("lora_unet_", "lora_transformer_", "diffusion_model.", "base_model.model.", "transformer.")
_BY_FLAT = {name.replace(".", "_"): bfl for bfl, other in OUTSIDE.items() for name in (bfl, other)}

# what no LoRA of layers is, and what is said of it
_EXTRAS: tuple[tuple[str, str], ...] = (
    (r".*\.(w_norm|b_norm)", "changes a norm, which no target here holds"),
    (r".*\.(diff|diff_b|lora_B\.bias|lora_up\.bias|set_weight)", "changes weights or biases outright, as no LoRA does"),
    (r"bundle_emb\..*", "is an embedding of a word, which no target here holds"),
)


def find_outside(key: str, keymap: Keymap) -> tuple[Renamed, ...]:
    """What a key of a module outside of FLUX.1's blocks becomes in the internal form; nothing for any other key."""
    if keymap.source == "mlx":
        return ()
    for ending, matrix in keymap.endings.items():
        stem = key.removesuffix(f".{ending}")
        if stem != key and (module := _module_of(stem)):
            is_swapped = (
                module == _SWAPPED and matrix == "lora_b" and stem.endswith(("norm_out.linear", "norm_out_linear"))
            )
            return (Renamed(f"{module}.{matrix}", True, None, swaps_halves=is_swapped),)
    return ()


def is_outside(key: str) -> bool:
    """True for a key of a module outside the blocks, in whichever dialect."""
    return bool(_module_of(module_name(key)))


def _module_of(stem: str) -> str | None:
    prefix = next((prefix for prefix in _PREFIXES if stem.startswith(prefix)), "")
    return _BY_FLAT.get(stem.removeprefix(prefix).replace(".", "_"))


def name_outside(key: str, target: str) -> tuple[Renamed, ...]:
    """What a key of the internal form (`img_in.lora_a`) becomes in a target that holds it; nothing for any other."""
    module, _, matrix = key.rpartition(".")
    if module not in OUTSIDE or target not in HOLDING or matrix not in _ENDINGS[target]:
        return ()
    name = f"lora_unet_{module.replace('.', '_')}" if target == "kohya" else f"transformer.{OUTSIDE[module]}"
    is_swapped = module == _SWAPPED and matrix == "lora_b" and target == "diffusers"
    return (Renamed(f"{name}.{_ENDINGS[target][matrix]}", True, None, swaps_halves=is_swapped),)


def changes_nothing_as_zero(key: str) -> bool:
    """True for an extra that is added to what is there: an embedding, or a weight that is set, is something at zero."""
    return bool(name_extra(key)) and not re.fullmatch(r".*\.set_weight|bundle_emb\..*", key)


def name_extra(key: str) -> str:
    """What a key is that belongs to no layer's update, and may be left out; empty for any other."""
    return next((problem for pattern, problem in _EXTRAS if re.fullmatch(pattern, key)), "")
