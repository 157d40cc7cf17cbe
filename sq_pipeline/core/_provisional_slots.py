"""Provisional: slots by name, until `core.dialects` gives them. Only `core.adapter_pairs` imports it."""

import re

_PREFIX = r"(?:base_model_model_|diffusion_model_|transformer_|lora_unet_|lora_transformer_|lycoris_+)?"
_SUFFIX = re.compile(
    r"(?:\.(?:lora_[abAB]|lora_down|lora_up|lora\.down|lora\.up)|(?<=_lora[12])\.(?:down|up)|(?<=_lora)\.(?:down|up))"
    r"(?:\.default)?(?:\.weight)?$|\.alpha$"
)
_BFL = re.compile(_PREFIX + r"(double|single)_blocks_(\d+)_(.+)")
_DIFFUSERS = re.compile(_PREFIX + r"(single_)?transformer_blocks_(\d+)_(.+)")
_QKV = ("q", "k", "v")

_BFL_MODULES: dict[tuple[str, str], tuple[str, str]] = {
    ("single", "linear1"): ("linear1", ""),
    ("single", "linear2"): ("linear2", ""),
    ("single", "modulation_lin"): ("modulation.lin", ""),
    ("single", "processor_qkv_lora"): ("linear1", "qkv"),
    ("single", "processor_proj_lora"): ("linear2", ""),
    **{("single", f"linear1_{index}"): ("linear1", part) for index, part in enumerate((*_QKV, "mlp"))},
}
_DIFFUSERS_MODULES: dict[tuple[str, str], tuple[str, str]] = {
    **{("single", f"attn_to_{part}"): ("linear1", part) for part in _QKV},
    ("single", "proj_mlp"): ("linear1", "mlp"),
    ("single", "proj_out"): ("linear2", ""),
    ("single", "norm_linear"): ("modulation.lin", ""),
}
for _number, _stream, _attn, _out, _ff, _norm in (
    (1, "img", "attn_to_{}", "attn_to_out_0", "ff", "norm1"),
    (2, "txt", "attn_add_{}_proj", "attn_to_add_out", "ff_context", "norm1_context"),
):
    for _kind in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2", "mod.lin"):
        _module = f"{_stream}_{_kind.replace('mlp.', 'mlp.layers.')}"
        _BFL_MODULES["double", f"{_stream}_{_kind.replace('.', '_')}"] = (_module, "")
        _BFL_MODULES["double", _module.replace(".", "_")] = (_module, "")
    for _index, _part in enumerate(_QKV):
        _BFL_MODULES["double", f"{_stream}_attn_qkv_{_index}"] = (f"{_stream}_attn.qkv", _part)
        _DIFFUSERS_MODULES["double", _attn.format(_part)] = (f"{_stream}_attn.qkv", _part)
    _BFL_MODULES["double", f"processor_qkv_lora{_number}"] = (f"{_stream}_attn.qkv", "")
    _BFL_MODULES["double", f"processor_proj_lora{_number}"] = (f"{_stream}_attn.proj", "")
    _DIFFUSERS_MODULES["double", _out] = (f"{_stream}_attn.proj", "")
    _DIFFUSERS_MODULES["double", f"{_norm}_linear"] = (f"{_stream}_mod.lin", "")
    for _name, _layer in (("net_0_proj", 0), ("linear1", 0), ("net_2", 2), ("linear2", 2)):
        _DIFFUSERS_MODULES["double", f"{_ff}_{_name}"] = (f"{_stream}_mlp.layers.{_layer}", "")


def slot_of(name: str) -> tuple[str, str, str] | None:
    """BFL module, part ('' for all of it) and `down`, `up` or `alpha` of an adapter tensor's name."""
    suffix = _SUFFIX.search(name)
    if suffix is None:
        return None
    stem = name[: suffix.start()].replace(".", "_")
    if match := _BFL.fullmatch(stem):
        kind, found = match[1], _BFL_MODULES.get((match[1], match[3]))
    elif match := _DIFFUSERS.fullmatch(stem):
        kind = "single" if match[1] else "double"
        found = _DIFFUSERS_MODULES.get((kind, match[3]))
    else:
        return None
    if found is None:
        return None
    word = suffix[0]
    is_down = re.search(r"lora_[aA]|down", word) is not None
    matrix = "alpha" if word == ".alpha" else "down" if is_down else "up"
    return f"{kind}_blocks.{int(match[2])}.{found[0]}", found[1], matrix
