"""Which module, and which part of it, a name stands for: one of a file, by the keymaps that read it, or of mflux."""

from collections.abc import Sequence

from sq_pipeline.adapters.form import FUSED_PARTS, parts_of
from sq_pipeline.adapters.keymap import Keymap


def split_slot(slot: str) -> tuple[str, str]:
    """Module and part of a slot: `double_blocks.0.img_attn.qkv.q` → that module, and `q`; no part for most."""
    module, _, last = slot.rpartition(".")
    is_part = module.count(".") >= 2 and last in {name for name, _ in parts_of(module)}
    return (module, last) if is_part else (slot, "")


def slot_of_layer(path: str) -> tuple[str, str]:
    """Module and part of one of mflux's layers: `layers.0.attention.to_q` is `to_q` of `layers.0.attention.qkv`."""
    parent, _, last = path.rpartition(".")
    for kind, parts in FUSED_PARTS.items():
        above, _, fused = kind.rpartition(".")
        if last in dict(parts) and parent.endswith(f".{above}"):
            return f"{parent}.{fused}", last
    return path, ""


def find_slot(name: str, keymaps: Sequence[Keymap]) -> tuple[str, str] | None:
    """Module and part by the first keymap that knows the name; several parts as one word (`qkv`); None without any."""
    for keymap in keymaps:
        found = [split_slot(renamed.target.rpartition(".")[0]) for renamed in keymap.rename(name)]
        if found:
            module, parts = found[0][0], [part for _, part in found]
            return module, "" if len(parts) > 1 and len(parts) == len(parts_of(module)) else "".join(parts)
    return None
