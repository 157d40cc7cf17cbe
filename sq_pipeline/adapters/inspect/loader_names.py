"""Which names of an adapter's tensors each loader reads, for FLUX.1. Not here: whether it reads them rightly.

Read in the sources, and held to the installed mflux by a test: mflux 0.17.5, 0.18.1, 0.19.0 and 0.24.0
(`flux_lora_mapping.py`, `lora_loader.py`), diffusers 0.42.1 (`lora_pipeline.py` FluxLoraLoaderMixin,
`lora_conversion_utils.py`), ComfyUI (`comfy/lora.py`, `comfy/weight_adapter/lora.py`), sd-scripts
(`networks/lora_flux.py`).
"""

import re
from collections.abc import Collection

from sq_pipeline.adapters.outside import OUTSIDE

_N = r"\d+"
_FF = rf"transformer_blocks\.{_N}\.ff(?:_context)?\.(?:net\.0\.proj|net\.2|linear1|linear2)"
_REST = (
    rf"(?:transformer_blocks\.{_N}\.(?:attn\.(?:to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)|norm1(?:_context)?\.linear)"
    rf"|single_transformer_blocks\.{_N}\.(?:attn\.to_[qkv]|proj_mlp|proj_out|norm\.linear))"
)
_DIFFUSERS = rf"(?:{_FF.replace('|linear1|linear2', '')}|{_REST})"
_DIFFUSERS_FLAT = _DIFFUSERS.replace(r"\.", "_")
_BFL = (
    rf"(?:double_blocks\.{_N}\.(?:img|txt)_(?:attn\.qkv|attn\.proj|mlp\.0|mlp\.2|mod\.lin)"
    rf"|single_blocks\.{_N}\.(?:linear1|linear2|modulation\.lin))"
)
_BFL_FLAT = _BFL.replace(r"\.", "_")
_XLABS = (
    rf"(?:diffusion_model\.)?(?:double_blocks\.{_N}\.processor\.(?:qkv|proj)_lora[12]"
    rf"|single_blocks\.{_N}\.processor\.(?:qkv|proj)_lora)\.(?:down|up)\.weight"
)

_OUT = "(?:" + "|".join(map(re.escape, OUTSIDE)) + ")"
_OUT_DIFFUSERS = "(?:" + "|".join(map(re.escape, OUTSIDE.values())) + ")"
_OUT_FLAT, _OUT_DIFFUSERS_FLAT = (text.replace(r"\.", "_") for text in (_OUT, _OUT_DIFFUSERS))
_OUT_TRAINED = r"(?:(?:time|vector|guidance)_in_(?:in|out)_layer|img_in|txt_in)"  # `in_dims` of sd-scripts
_CLIP = rf"text_model_encoder_layers_{_N}_(?:mlp_fc[12]|self_attn_(?:[kqv]|out)_proj)"
_KOHYA_ENDINGS = r"\.(?:lora_(?:up|down)\.weight|alpha)"
_LOKR = r"\.(?:lokr_w[12](?:_[ab])?|lokr_t2|alpha|dora_scale)"
_LOKR_FF = _DIFFUSERS_FLAT.replace("net_0_proj", "(?:net_0_proj|linear1)").replace("net_2", "(?:net_2|linear2)")

_MFLUX_COMMON = (
    rf"transformer\.(?:{_FF}|{_REST})\.(?:lora_[AB](?:\.weight)?|alpha)",
    rf"(?:{_FF}|{_REST})\.lora_(?:up|down)\.weight",
    rf"{_REST}\.(?:lora_[AB]\.weight|alpha)",
    rf"{_DIFFUSERS}\.alpha",
    rf"lora_unet_{_BFL_FLAT}\.(?:lora_(?:up|down)\.weight|alpha)",
)
# from 0.19 on, every name that ends in `.weight` is read without it too
_MFLUX_BARE = (
    rf"(?:{_FF}|{_REST}|lora_unet_{_BFL_FLAT})\.lora_(?:up|down)",
    rf"{_REST}\.lora_[AB]",
)
_COMFY = (
    rf"(?:diffusion_model\.(?:{_BFL}|{_OUT})|(?:transformer\.)?(?:{_DIFFUSERS}|{_OUT_DIFFUSERS})"
    rf"|lora_unet_(?:{_BFL_FLAT}|{_OUT_FLAT})|(?:lora_transformer|lycoris)_(?:{_DIFFUSERS_FLAT}|{_OUT_DIFFUSERS_FLAT}))"
    r"\.(?:lora_(?:up|down)\.weight|lora_[AB](?:\.default)?\.weight|lora\.(?:up|down)\.weight|lora_[AB]|alpha"
    r"|dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|diff|diff_b)",
    rf"lora_te1?_{_CLIP}{_KOHYA_ENDINGS}",
)
_SD_SCRIPTS = (rf"(?:lora_unet_(?:{_BFL_FLAT}|{_OUT_TRAINED})|lora_te1_{_CLIP}){_KOHYA_ENDINGS}",)
# diffusers takes one way for the whole file, by what it finds in the names
_DIFFUSERS_WAYS = {
    "peft": (
        rf"transformer\.(?:{_DIFFUSERS}|{_OUT_DIFFUSERS})\.(?:lora_[AB]\.weight|lora\.(?:up|down)\.weight|alpha)",
    ),
    "xlabs": (_XLABS,),
    "kohya": (
        rf"(?:lora_unet_(?:{_BFL_FLAT}|{_OUT_FLAT})|diffusion_model\.(?:{_BFL}|{_OUT})|lora_te1?_{_CLIP}){_KOHYA_ENDINGS}",
    ),
    "mixed peft": (rf"transformer\.{_DIFFUSERS}\.lora_(?:up|down)\.weight",),
    "onetrainer": (
        rf"lora_transformer_(?:{_DIFFUSERS_FLAT}|{_OUT_DIFFUSERS_FLAT})\.(?:lora_(?:up|down)\.weight|alpha)",
    ),
}

_PATTERNS = {
    "mflux >=0.19": re.compile("|".join((*_MFLUX_COMMON, *_MFLUX_BARE))),
    "mflux <0.19": re.compile("|".join(_MFLUX_COMMON)),
    "mflux LoKr": re.compile(rf"(?:lycoris__?|lora_unet_)(?:{_LOKR_FF}|{_OUT_DIFFUSERS_FLAT}){_LOKR}"),
    "ComfyUI": re.compile("|".join(_COMFY)),
    "sd-scripts": re.compile("|".join(_SD_SCRIPTS)),
    **{f"diffusers {way}": re.compile("|".join(patterns)) for way, patterns in _DIFFUSERS_WAYS.items()},
}


def unread_names(loader: str, names: Collection[str]) -> list[str]:
    """The names that a loader (`mflux >=0.19`, `mflux <0.19`, `diffusers`, `ComfyUI`, `sd-scripts`) does not read."""
    pattern = _PATTERNS[f"diffusers {diffusers_way(names)}" if loader == "diffusers" else loader]
    return [name for name in names if pattern.fullmatch(name) is None]


def diffusers_way(names: Collection[str]) -> str:
    """The converter that diffusers' `lora_state_dict` takes for these names."""
    if any(".lora_down.weight" in name for name in names):
        if any(name.startswith("transformer.") for name in names):
            return "mixed peft"
        return "onetrainer" if any(name.startswith("lora_transformer_") for name in names) else "kohya"
    return "xlabs" if any("processor" in name for name in names) else "peft"
