"""Adapter files as other programs write them: random numbers under their names, at tiny-flux's or FLUX.1's own widths.

Tables of modules, dialects over them, and `write`. Not here: what is to come of them (the tests).
"""

import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.tensor_bits import to_bits
from sq_pipeline_tests.adapters.files import Tensors, save, save_raw

TINY, TRUE = (256, 2, 4), (3072, 1, 1)  # hidden size, double blocks, single blocks
Numbers = npt.NDArray[np.float64]
Modules = Mapping[str, tuple[Numbers, Numbers]]  # name: down, up
Widths = tuple[int, int, int]

_JOINED = {
    f"{side}_{part}": shape
    for side in ("img", "txt")
    for part, shape in {
        "attn.qkv": (1, 3),
        "attn.proj": (1, 1),
        "mlp.0": (1, 4),
        "mlp.2": (4, 1),
        "mod.lin": (1, 6),
    }.items()
}
_SINGLE = {"linear1": (1, 7), "linear2": (5, 1), "modulation.lin": (1, 3)}
_SPLIT = {
    **{f"attn.{name}": (1, 1) for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj")},
    **{f"attn.{name}": (1, 1) for name in ("to_out.0", "to_add_out")},
    **{f"{name}.net.0.proj": (1, 4) for name in ("ff", "ff_context")},
    **{f"{name}.net.2": (4, 1) for name in ("ff", "ff_context")},
    "norm1.linear": (1, 6),
    "norm1_context.linear": (1, 6),
}
_SPLIT_SINGLE = {
    **{f"attn.to_{name}": (1, 1) for name in "qkv"},
    "proj_mlp": (1, 4),
    "proj_out": (5, 1),
    "norm.linear": (1, 3),
}


def pair(name: str, shape: tuple[int, int], rank: int) -> tuple[Numbers, Numbers]:
    """Down and up of one module, always the same for a name; `shape`: inputs and outputs."""
    random, (inputs, outputs) = np.random.default_rng(zlib.crc32(name.encode())), shape
    down = random.standard_normal((rank, inputs)) / np.sqrt(inputs)
    return down, random.standard_normal((outputs, rank)) * 0.05 / np.sqrt(rank)


def _modules(
    widths: Widths, rank: int, double: Mapping[str, tuple[int, int]], single: Mapping[str, tuple[int, int]], at: str
) -> Modules:
    hidden, doubles, singles = widths
    shapes = {f"{at}.{i}.{name}": shape for i in range(doubles) for name, shape in double.items()}
    shapes |= {
        f"single_{at.removeprefix('double_')}.{i}.{n}": shape for i in range(singles) for n, shape in single.items()
    }
    return {name: pair(name, (a * hidden, b * hidden), rank) for name, (a, b) in shapes.items()}


def joined(widths: Widths = TINY, rank: int = 2) -> Modules:
    """BFL's modules, with q, k and v in one."""
    return _modules(widths, rank, _JOINED, _SINGLE, "double_blocks")


def split(widths: Widths = TINY, rank: int = 2) -> Modules:
    """diffusers' modules."""
    return _modules(widths, rank, _SPLIT, _SPLIT_SINGLE, "transformer_blocks")


def tensor(numbers: npt.ArrayLike, dtype: str = "F32") -> tuple[str, npt.NDArray[Any]]:
    """Numbers as a tensor of a file; F8_E4M3 as any bytes at all."""
    array = np.asarray(numbers, np.float64)
    if dtype == "F8_E4M3":
        return dtype, (array * 64).astype(np.int8).view(np.uint8)
    return dtype, to_bits(dtype, array)


def kohya(
    modules: Modules,
    alpha: float | None = None,
    *,
    dtype: str = "F32",
    alpha_dtype: str = "F32",
    has_alpha: bool = True,
    prefix: str = "lora_unet_",
) -> Tensors:
    """Kohya's names; without `alpha` each module's is its rank."""
    tensors: Tensors = {}
    for name, (down, up) in modules.items():
        key = prefix + name.replace(".", "_")
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = tensor(down, dtype), tensor(up, dtype)
        if has_alpha:
            tensors[f"{key}.alpha"] = tensor(len(down) if alpha is None else alpha, alpha_dtype)
    return tensors


def peft(modules: Modules, prefix: str = "transformer.", dtype: str = "F32", infix: str = "") -> Tensors:
    """PEFT's and diffusers' endings."""
    return {
        f"{prefix}{name}.lora_{letter}{infix}.weight": tensor(numbers, dtype)
        for name, (down, up) in modules.items()
        for letter, numbers in (("A", down), ("B", up))
    }


def trained_apart(parts: Modules | None = None, alpha: float = 2.0) -> Tensors:
    """What sd-scripts stores with `split_qkv`: parts side by side, with the alpha of one."""
    parts, tensors = split() if parts is None else parts, Tensors()
    for name, members in _fused_names().items():
        ups = [parts[member][1] for member in members]
        up = np.zeros((sum(map(len, ups)), sum(one.shape[1] for one in ups)))
        row = column = 0
        for one in ups:
            up[row : row + len(one), column : column + one.shape[1]] = one
            row, column = row + len(one), column + one.shape[1]
        down = np.concatenate([parts[member][0] for member in members])
        tensors |= kohya({name: (down, up)}, alpha)
    return tensors


def _fused_names() -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for i in range(TINY[1]):
        here, there = f"double_blocks.{i}.", f"transformer_blocks.{i}."
        names[f"{here}img_attn.qkv"] = [f"{there}attn.to_{letter}" for letter in "qkv"]
        names[f"{here}txt_attn.qkv"] = [f"{there}attn.add_{letter}_proj" for letter in "qkv"]
        ours = ("img_attn.proj", "txt_attn.proj", "img_mlp.0", "img_mlp.2", "txt_mlp.0", "txt_mlp.2", "img_mod.lin")
        theirs = ("attn.to_out.0", "attn.to_add_out", "ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj")
        theirs = (*theirs, "ff_context.net.2", "norm1.linear", "norm1_context.linear")
        for one, other in zip((*ours, "txt_mod.lin"), theirs, strict=True):
            names[here + one] = [there + other]
    for i in range(TINY[2]):
        here, there = f"single_blocks.{i}.", f"single_transformer_blocks.{i}."
        names[f"{here}linear1"] = [*(f"{there}attn.to_{letter}" for letter in "qkv"), f"{there}proj_mlp"]
        names[f"{here}linear2"], names[f"{here}modulation.lin"] = [f"{there}proj_out"], [f"{there}norm.linear"]
    return names


def write_peft_folder(folder: Path, config: Mapping[str, Any] | None = None, rank: int = 4) -> Path:
    """A folder as PEFT saves one; `config` changes its `adapter_config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "adapter_model.safetensors", peft(split(rank=rank), "base_model.model."))
    values = {"peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["to_q"], "use_rslora": False}
    (folder / "adapter_config.json").write_text(json.dumps({**values, **(config or {})}))
    return folder


def write_odd(path: Path, tensors: Tensors, metadata: Any = None) -> Path:
    """A file that the reference library would not write: dtypes of eight bits, a null for metadata."""
    header: dict[str, Any] = {"__metadata__": metadata}
    data = b""
    for name, (dtype, bits) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [*bits.shape], "data_offsets": [len(data), len(data) + bits.nbytes]}
        data += bits.tobytes()
    return save_raw(path, header, data)


def only(tensors: Tensors, words: Iterable[str]) -> Tensors:
    """The tensors whose names hold one of the words."""
    kept = tuple(words)
    return {name: value for name, value in tensors.items() if any(word in name for word in kept)}
