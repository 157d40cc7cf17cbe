"""The dialects of FLUX.1 adapter files, told by their names. Not here: converting between them (`keymap`)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_DIALECTS: tuple[tuple[str, str], ...] = (
    ("XLabs", r"(double|single)_blocks\.\d+\.processor\."),
    ("mlx-examples", r"(double|single)_blocks\.\d+\..+\.lora_[ab]$"),
    ("Kohya", r"lora_unet_(double|single)_blocks_\d+_.+\.(lora_down\.weight|lora_up\.weight|alpha)$"),
    ("BFL/Comfy", r"diffusion_model\.(double|single)_blocks\.\d+\..+\.lora_(A|B|down|up)(\.weight)?$"),
    ("diffusers", r"(transformer\.)?(single_)?transformer_blocks\.\d+\..+\.lora_(A|B|down|up)(\.weight)?$"),
)
_KEY = re.compile(
    r"(?P<module>.+?)\.(?:(?P<mlx>lora_[ab])|(?P<peft>lora_[AB]|lora_down|lora_up|lora\.down|lora\.up)(?:\.weight)?"
    r"|(?P<alpha>alpha))"
    r"|(?P<xlabs_module>.+_lora\d*)\.(?P<xlabs>down|up)\.weight"
)
_DOWN = {"lora_a", "lora_A", "lora_down", "lora.down", "down"}


@dataclass(frozen=True)
class AdapterKey:
    """A tensor's name taken apart: module, and `down`, `up` or `alpha`. MLX keeps its matrices transposed."""

    module: str
    matrix: str
    is_mlx: bool


def parse_key(name: str) -> AdapterKey | None:
    """The parts of an adapter tensor's name, None for any other name."""
    match = _KEY.fullmatch(name)
    if match is None:
        return None
    if match["alpha"]:
        return AdapterKey(match["module"], "alpha", False)
    word = match["mlx"] or match["peft"] or match["xlabs"]
    return AdapterKey(
        match["module"] or match["xlabs_module"], "down" if word in _DOWN else "up", match["mlx"] is not None
    )


def name_dialect(names: Iterable[str]) -> str:
    """The dialect whose pattern every name (alphas aside) fits; `mixed` or `unknown` otherwise."""
    found: set[str] = set()
    for name in names:
        if name.endswith(".alpha"):
            continue
        found.add(next((dialect for dialect, pattern in _DIALECTS if re.match(pattern, name)), "unknown"))
    if len(found) == 1:
        return found.pop()
    return "mixed" if found else "unknown"
