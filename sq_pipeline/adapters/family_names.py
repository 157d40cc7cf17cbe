"""Which layer of Z-Image and FLUX.2 a module's name in an adapter file stands for, as the families' files have it.

Names: the families' diffusers repositories, Black Forest Labs' own, ComfyUI's fused ones; with dots or, in Kohya's way,
with underscores. They are written down here and not taken from a loader, so that a loader can be held against them.
Not here: FLUX.1's names (`keymap`), reading a whole file (`family_reading`).
"""

import re
from collections.abc import Mapping
from functools import cache

from sq_pipeline.base_models.base_models import Family

# raised when a name comes to mean another layer
NAMES_REVISION = 1

# the layers that some files hold as one matrix, one after the other in its outputs
FUSED_PARTS: Mapping[str, tuple[str, ...]] = {
    "attention.qkv": ("to_q", "to_k", "to_v"),
    "attn.qkv": ("to_q", "to_k", "to_v"),
    "attn.add_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}

_PREFIX = re.compile(r"(diffusion_model|transformer|base_model\.model)\.")
_KOHYA = "lora_unet_"
_BLOCK = r"(layers|noise_refiner|context_refiner)\.(\d+)\."
# a module's name in a file: the slot, and with it the name of mflux's layer (a part stands in its fused module)
_Z_IMAGE = (
    (rf"{_BLOCK}attention\.qkv", r"\1.\2.attention.qkv"),
    (rf"{_BLOCK}attention\.(to_q|to_k|to_v)", r"\1.\2.attention.qkv.\3"),
    (rf"{_BLOCK}attention\.out", r"\1.\2.attention.to_out.0"),
    (rf"{_BLOCK}attention\.to_out\.0", r"\1.\2.attention.to_out.0"),
    (rf"{_BLOCK}feed_forward\.(w1|w2|w3)", r"\1.\2.feed_forward.\3"),
    (rf"{_BLOCK}adaLN_modulation\.0", r"\1.\2.adaLN_modulation.0"),
    (r"x_embedder", "all_x_embedder.2-1"),
    (r"all_x_embedder\.2-1", "all_x_embedder.2-1"),
    (r"final_layer\.linear", "all_final_layer.2-1.linear"),
    (r"all_final_layer\.2-1\.linear", "all_final_layer.2-1.linear"),
    (r"final_layer\.adaLN_modulation\.1", "all_final_layer.2-1.adaLN_modulation.0"),
    (r"all_final_layer\.2-1\.adaLN_modulation\.1", "all_final_layer.2-1.adaLN_modulation.0"),
    (r"cap_embedder\.1", "cap_embedder.1"),
    (r"t_embedder\.mlp\.0", "t_embedder.linear1"),
    (r"t_embedder\.mlp\.2", "t_embedder.linear2"),
)
_DOUBLE, _SINGLE = r"transformer_blocks\.(\d+)\.", r"single_transformer_blocks\.(\d+)\."
_BFL_DOUBLE, _BFL_SINGLE = r"double_blocks\.(\d+)\.", r"single_blocks\.(\d+)\."
_FLUX2 = (
    (rf"{_DOUBLE}attn\.(to_q|to_k|to_v)", r"transformer_blocks.\1.attn.qkv.\2"),
    (rf"{_DOUBLE}attn\.(add_q_proj|add_k_proj|add_v_proj)", r"transformer_blocks.\1.attn.add_qkv.\2"),
    (rf"{_DOUBLE}attn\.to_out", r"transformer_blocks.\1.attn.to_out"),
    (rf"{_DOUBLE}attn\.to_out\.0", r"transformer_blocks.\1.attn.to_out"),
    (rf"{_DOUBLE}attn\.to_add_out", r"transformer_blocks.\1.attn.to_add_out"),
    (rf"{_DOUBLE}(ff|ff_context)\.(linear_in|linear_out)", r"transformer_blocks.\1.\2.\3"),
    (rf"{_SINGLE}attn\.(to_qkv_mlp_proj|to_out)", r"single_transformer_blocks.\1.attn.\2"),
    (rf"{_BFL_DOUBLE}img_attn\.qkv", r"transformer_blocks.\1.attn.qkv"),
    (rf"{_BFL_DOUBLE}txt_attn\.qkv", r"transformer_blocks.\1.attn.add_qkv"),
    (rf"{_BFL_DOUBLE}img_attn\.proj", r"transformer_blocks.\1.attn.to_out"),
    (rf"{_BFL_DOUBLE}txt_attn\.proj", r"transformer_blocks.\1.attn.to_add_out"),
    (rf"{_BFL_DOUBLE}img_mlp\.0", r"transformer_blocks.\1.ff.linear_in"),
    (rf"{_BFL_DOUBLE}img_mlp\.2", r"transformer_blocks.\1.ff.linear_out"),
    (rf"{_BFL_DOUBLE}txt_mlp\.0", r"transformer_blocks.\1.ff_context.linear_in"),
    (rf"{_BFL_DOUBLE}txt_mlp\.2", r"transformer_blocks.\1.ff_context.linear_out"),
    (rf"{_BFL_SINGLE}linear1", r"single_transformer_blocks.\1.attn.to_qkv_mlp_proj"),
    (rf"{_BFL_SINGLE}linear2", r"single_transformer_blocks.\1.attn.to_out"),
    (r"(x_embedder|img_in)", "x_embedder"),
    (r"(context_embedder|txt_in)", "context_embedder"),
    (r"(time_guidance_embed\.linear_1|time_in\.in_layer)", "time_guidance_embed.linear_1"),
    (r"(time_guidance_embed\.linear_2|time_in\.out_layer)", "time_guidance_embed.linear_2"),
    (r"(double_stream_modulation_img|double_stream_modulation_txt)\.(linear|lin)", r"\1.linear"),
    (r"single_stream_modulation\.(linear|lin)", "single_stream_modulation.linear"),
    (r"norm_out\.linear", "norm_out.linear"),
    (r"final_layer\.adaLN_modulation\.1", "norm_out.linear"),
    (r"(proj_out|final_layer\.linear)", "proj_out"),
)
_TABLES: Mapping[Family, tuple[tuple[str, str], ...]] = {"z-image": _Z_IMAGE, "flux2": _FLUX2}


@cache
def _compiled(family: Family, has_dots: bool) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple(
        (re.compile(pattern if has_dots else pattern.replace(r"\.", "_")), slot) for pattern, slot in _TABLES[family]
    )


def find_slot(module: str, family: Family) -> tuple[str, str] | None:
    """Module and part that a module's name in a file stands for, part empty for most; None for a name of no layer.

    Raises KeyError for FLUX.1, whose names keymaps have.
    """
    is_kohya = module.startswith(_KOHYA)
    name = module.removeprefix(_KOHYA) if is_kohya else _PREFIX.sub("", module, count=1)
    for pattern, slot in _compiled(family, not is_kohya):
        match = pattern.fullmatch(name)
        if match is not None:
            return split_part(match.expand(slot))
    return None


def split_part(slot: str) -> tuple[str, str]:
    """Module and part of a slot: `layers.0.attention.qkv.to_q` → that fused module, and `to_q`."""
    module, _, last = slot.rpartition(".")
    return (module, last) if last in FUSED_PARTS.get(_kind(module), ()) else (slot, "")


def slot_of_layer(path: str) -> tuple[str, str]:
    """Module and part of one of mflux's layers: `layers.0.attention.to_q` is `to_q` of `layers.0.attention.qkv`."""
    parent, _, last = path.rpartition(".")
    for kind, parts in FUSED_PARTS.items():
        above, _, fused = kind.rpartition(".")
        if last in parts and parent.endswith(f".{above}"):
            return f"{parent}.{fused}", last
    return path, ""


def parts_of(module: str) -> tuple[str, ...]:
    """The parts of a fused module, in the order of its outputs; none for any other."""
    return FUSED_PARTS.get(_kind(module), ())


def _kind(module: str) -> str:
    return ".".join(module.split(".")[-2:])
