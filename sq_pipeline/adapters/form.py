"""The internal form of an adapter: updates of a model's modules, whole or in parts, wherever their numbers lie.

Every file is read into this form and every target written from it. An update adds scale · up @ down to a weight of
(outputs, inputs). Not here: names in files (`adapters.keymap`), bytes (`adapters.safetensors_file`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

# FLUX.1's modules that loaders know in parts: each part's name and its share of the outputs, in order
_QKV = (("q", 1), ("k", 1), ("v", 1))


PARTS_BY_KIND: Mapping[str, tuple[tuple[str, int], ...]] = {
    "img_attn.qkv": _QKV,
    "txt_attn.qkv": _QKV,
    "linear1": (*_QKV, ("mlp", 4)),
}


# of the other families, the layers that some files hold as one matrix
FUSED_PARTS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "attention.qkv": (("to_q", 1), ("to_k", 1), ("to_v", 1)),
    "attn.qkv": (("to_q", 1), ("to_k", 1), ("to_v", 1)),
    "attn.add_qkv": (("add_q_proj", 1), ("add_k_proj", 1), ("add_v_proj", 1)),
}


FLOATS = frozenset({"F32", "F16", "BF16"})  # what a matrix may be


ALPHA_DTYPES = FLOATS | {"F64", "I64", "I32", "I16", "U8"}


def parts_of(module: str) -> tuple[tuple[str, int], ...]:
    """The parts of a module (`single_blocks.3.linear1`) and their shares of its outputs; none for most modules."""
    kind = ".".join(module.split(".")[2:])
    return PARTS_BY_KIND.get(kind) or FUSED_PARTS.get(kind, ())


@dataclass(frozen=True)
class Matrix:
    """A matrix of (rows, columns) inside a file's tensor `key`; `is_transposed` when the tensor has columns first.

    `row_span` and `column_span`: the part of the (turned) tensor that it is; None for all of it. `swaps_halves`: the
    first half of its rows comes after the second in the tensor.
    """

    key: str
    dtype: str
    rows: int
    columns: int
    is_transposed: bool = False
    row_span: tuple[int, int] | None = None
    column_span: tuple[int, int] | None = None
    swaps_halves: bool = False


@dataclass(frozen=True)
class Patch:
    """One low-rank update: `down` is (rank, inputs), `up` (outputs, rank).

    `module` is BFL's name with mlx-examples' `layers` (`double_blocks.0.img_mlp.layers.0`), or that of another family's
    keymap; `part` is empty for the whole module. `alpha`: what the file says, None where it says nothing, and how its
    tensor holds it; `scale`: what the update is multiplied by.
    """

    module: str
    part: str
    down: Matrix
    up: Matrix
    alpha: float | None
    scale: float
    alpha_dtype: str = "F32"
    alpha_shape: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.rows

    @property
    def slot(self) -> str:
        """Module and part, as one name: `double_blocks.0.img_attn.qkv.q`."""
        return f"{self.module}.{self.part}" if self.part else self.module


@dataclass(frozen=True)
class AdapterUse:
    """An adapter file (mflux dialect) and the strength it is applied with. `name`: what people call the file."""

    path: Path
    lora_scale: float
    name: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """Its name for people, else the file's."""
        return self.name or self.path.name


class UpdateSource(Protocol):
    """What an adapter is meant to add, with its numbers at hand (see `adapters.form`)."""

    @property
    def patches(self) -> Mapping[str, Patch]:
        """The updates, by slot."""
        ...

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """A matrix's numbers, (rows, columns)."""
        ...
