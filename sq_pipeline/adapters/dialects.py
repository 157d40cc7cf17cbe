"""The dialects of FLUX.1 adapter files, told by their names. Not here: converting between them (`keymap`)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# the ids that keymaps use; `mlx` is mlx-examples, whose names the internal form extends
Dialect = Literal[
    "mlx", "kohya", "diffusers", "bfl", "xlabs", "onetrainer", "onetrainer-omi", "mflux", "mflux-before-0.19"
]

DIALECT_NAMES: Mapping[Dialect, str] = {
    "mlx": "mlx-examples",
    "kohya": "Kohya",
    "diffusers": "diffusers",
    "bfl": "BFL/Comfy",
    "xlabs": "XLabs",
    "onetrainer": "OneTrainer",
    "onetrainer-omi": "OneTrainer (OMI)",
    "mflux": "mflux",
    "mflux-before-0.19": "mflux before 0.19",
}

_MATRIX = r"(lora_(A|B|down|up)(\.default)?|lora\.(down|up))(\.weight)?"
_PATTERNS: Mapping[Dialect, str] = {
    "xlabs": r"(diffusion_model\.)?(double|single)_blocks\.\d+\.processor\.",
    "mlx": r"(double|single)_blocks\.\d+\..+\.lora_[ab]",
    "kohya": r"lora_unet_(double|single)_blocks_\d+_.+\.(lora_down\.weight|lora_up\.weight|alpha)",
    "bfl": rf"((diffusion_model|base_model\.model)\.)?(double|single)_blocks\.\d+\..+\.{_MATRIX}",
    "onetrainer-omi": rf"transformer\.(double|single)_blocks\.\d+\..+\.{_MATRIX}",
    "onetrainer": rf"lora_transformer_(single_)?transformer_blocks_\d+_.+\.{_MATRIX}",
    "diffusers": rf"((transformer|base_model\.model)\.)?(single_)?transformer_blocks\.\d+\..+\.{_MATRIX}",
}
_COMPILED: Mapping[Dialect, re.Pattern[str]] = {
    dialect: re.compile(pattern if pattern.endswith(r"\.") else rf"{pattern}$")
    for dialect, pattern in _PATTERNS.items()
}

_TEXT_ENCODER = re.compile(r"(lora_te\d?_|text_encoder(_2)?\.|te\d?\.|lora_clip|clip_[lg]\.|t5xxl\.)")
_OTHER_KINDS: tuple[tuple[str, str], ...] = (
    (r".*\.(dora_scale|lora_magnitude_vector(\..+)?)", "is DoRA's: its size for each output has no place in a LoRA"),
    (r".*\.lokr_(w1|w2|t2)(_[ab])?", "is LoKr's: a Kronecker product is not a down and an up matrix"),
    (r".*\.hada_(w1|w2|t1|t2)(_[ab])?", "is LoHa's: a Hadamard product is not a down and an up matrix"),
    (r".*\.(diff|diff_b|lora_B\.bias|lora_up\.bias|set_weight)", "changes weights or biases outright, as no LoRA does"),
)


def dialect_counts(names: Iterable[str]) -> Counter[Dialect | None]:
    """How many names, alphas aside, each dialect's pattern fits; None stands for no dialect."""
    counts: Counter[Dialect | None] = Counter()
    for name in names:
        if not name.endswith(".alpha"):
            found: Dialect | None = next((dialect for dialect in _COMPILED if _COMPILED[dialect].match(name)), None)
            counts[found] += 1
    return counts


def find_dialect(names: Iterable[str], metadata: Mapping[str, str]) -> Dialect | None:
    """The one dialect that an adapter's keys are in, whatever else is among them; None for none, and for two."""
    found: list[Dialect] = [dialect for dialect in dialect_counts(names) if dialect is not None]
    if metadata.get("format") == "mflux" and "sq.keymap" in metadata and found and {*found} <= {"kohya", "diffusers"}:
        return "mflux"
    return found[0] if len(found) == 1 else None


def name_dialect(names: Iterable[str], metadata: Mapping[str, str] | None = None) -> str:
    """The dialect's name where every name (alphas aside) fits one; `mixed` or `unknown` otherwise.

    Two trainers write diffusers' names and are told by their metadata, or by names of their own.
    """
    names = list(names)
    metadata = metadata or {}
    counts = dialect_counts(names)
    dialect = find_dialect(names, metadata)
    if dialect is None or None in counts:
        return "mixed" if counts.keys() - {None} else "unknown"
    if dialect == "diffusers":
        if "ai-toolkit" in metadata.get("software", ""):
            return "ai-toolkit"
        if "mflux_version" in metadata:
            return "mflux-train"
    return DIALECT_NAMES[dialect]


def is_of_text_encoder(name: str) -> bool:
    """True for a key of an adapter for CLIP or T5, which some trainers put into the same file."""
    return _TEXT_ENCODER.match(name) is not None


def name_other_kind(name: str) -> str:
    """What a key is that belongs to another kind of adapter than a LoRA; empty for any other key."""
    return next((problem for pattern, problem in _OTHER_KINDS if re.fullmatch(pattern, name)), "")


_KEY = re.compile(
    r"(?P<module>.+?)\.(?:(?P<mlx>lora_[ab])|(?P<peft>lora_[AB]|lora_down|lora_up|lora\.down|lora\.up)(?:\.default)?(?:\.weight)?"
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


_METHODS = (("LoKr", r".*\.lokr_.*"), ("LoHa", r".*\.hada_.*"), ("DoRA", r".*\.(dora_scale|lora_magnitude_vector.*)"))


def method_of(names: Iterable[str]) -> str:
    """What an adapter is other than a LoRA, by its names; empty for a LoRA."""
    names = list(names)
    return next((method for method, pattern in _METHODS if any(re.fullmatch(pattern, name) for name in names)), "")


def module_name(key: str) -> str:
    """The module of a key, by the file's own name."""
    parsed = parse_key(key)
    return key if parsed is None else parsed.module
