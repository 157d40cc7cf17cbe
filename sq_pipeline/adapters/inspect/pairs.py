"""The modules of an adapter file as its header tells them: which tensors belong together, and whether they fit.

A faulty file has modules too: halves, wrong shapes, names said twice. Nothing here raises or reads a number. The
internal form (`adapters.form`) is for files without fault.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sq_pipeline.adapters.dialects import is_of_text_encoder, name_other_kind, parse_key
from sq_pipeline.adapters.form import ALPHA_DTYPES, FLOATS, parts_of
from sq_pipeline.adapters.inspect.findings import Finding
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.outside import name_extra
from sq_pipeline.adapters.slots import find_slot
from sq_pipeline.adapters.tensor_header import TensorInfo

READABLE_FLOATS = FLOATS | {"F64"}  # whose size can be told, though no target is written in F64
_MATRICES = ("down", "up")


@dataclass(frozen=True)
class Pair:
    """One module's tensors. `name`: the file's; `module` and `part`: FLUX.1's, empty outside its blocks.

    `is_transposed`: as MLX keeps them, down (inputs, rank) and up (rank, outputs).
    """

    name: str
    module: str
    part: str
    is_transposed: bool
    down: TensorInfo | None
    up: TensorInfo | None
    alpha: TensorInfo | None

    @property
    def kind(self) -> str:
        """`img_attn.qkv` of `double_blocks.0.img_attn.qkv`; empty outside FLUX.1's blocks."""
        return self.module.split(".", 2)[2] if self.module else ""

    @property
    def slot(self) -> str:
        """Module and part as one name; the file's own name outside FLUX.1's blocks."""
        return ".".join(filter(None, (self.module, self.part))) or self.name

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """Down, up and alpha, those that there are."""
        return tuple(info for info in (self.down, self.up, self.alpha) if info is not None)

    @property
    def shapes(self) -> tuple[int, int, int, int] | None:
        """Rows and columns of down (rank, inputs) and of up (outputs, rank); None when one is no filled matrix."""
        if self.down is None or self.up is None or len(self.down.shape) != 2 or len(self.up.shape) != 2:
            return None
        if 0 in self.down.shape + self.up.shape:
            return None
        (rank, inputs), (outputs, up_rank) = self.down.shape, self.up.shape
        return (inputs, rank, up_rank, outputs) if self.is_transposed else (rank, inputs, outputs, up_rank)

    @property
    def tiles(self) -> int:
        """How often the down matrix repeats the rank: 1, or for a fused module tiled for mflux before 0.19, 3 or 4."""
        cut = self.cut
        shapes = self.shapes
        return cut if cut > 1 and shapes is not None and shapes[0] == cut * shapes[3] else 1

    @property
    def cut(self) -> int:
        """Into how many parts mflux before 0.19 cut its down matrix, where the rank allows; 1 for most modules.

        `LoraTransforms._split_qkv_down` and `_split_qkv_mlp_down` there: one for each part of a fused module.
        """
        return max(1, len(parts_of(self.module))) if self.module and not self.part else 1

    @property
    def is_whole(self) -> bool:
        """True when its update can be computed: two matrices of floating-point numbers that fit together."""
        shapes = self.shapes
        return shapes is not None and not self.wrong_dtypes and self.has_number and shapes[0] == self.tiles * shapes[3]

    @property
    def wrong_dtypes(self) -> tuple[TensorInfo, ...]:
        """Its tensors that hold no numbers: matrices are of floating-point numbers, an alpha may be a whole one."""
        matrices = tuple(
            info for info in (self.down, self.up) if info is not None and info.dtype not in READABLE_FLOATS
        )
        return matrices + ((self.alpha,) if self.alpha is not None and self.alpha.dtype not in ALPHA_DTYPES else ())

    @property
    def has_number(self) -> bool:
        """True without an alpha, and with one that is one number."""
        return self.alpha is None or math.prod(self.alpha.shape) == 1

    @property
    def rank(self) -> int:
        """Columns of up, of a whole pair."""
        assert self.shapes is not None
        return self.shapes[3]

    @property
    def dtype(self) -> str:
        """The matrices' dtype, `F16/F32` where they differ."""
        return "/".join(dict.fromkeys(info.dtype for info in (self.down, self.up) if info is not None))


@dataclass(frozen=True)
class Pairs:
    """All modules of a file, by the file's names in order, and what is wrong with its names and shapes."""

    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]


def pair_up(tensors: Mapping[str, TensorInfo], keymaps: Sequence[Keymap]) -> Pairs:
    """The modules of a file, named by the reading `keymaps`, and a finding for each name or shape that is wrong."""
    findings: list[Finding] = []
    found: dict[str, dict[str, TensorInfo]] = {}
    transposed: dict[str, bool] = {}
    for name, info in tensors.items():
        key = parse_key(name)
        if key is None:
            findings.append(_unmatched(name))
            continue
        matrices = found.setdefault(key.module, {})
        if key.matrix in matrices:
            findings.append(Finding("repeated", name, f"says the same as {matrices[key.matrix].name}"))
        matrices.setdefault(key.matrix, info)
        transposed[key.module] = transposed.get(key.module, False) or key.is_mlx
    pairs: list[Pair] = []
    for name, matrices in sorted(found.items()):
        module, part = find_slot(next(iter(matrices.values())).name, keymaps) or ("", "")
        down, up, alpha = (matrices.get(matrix) for matrix in (*_MATRICES, "alpha"))
        pairs.append(Pair(name, module, part, transposed[name], down, up, alpha))
    findings.extend(_repeated_slots(pairs))
    for pair in pairs:
        findings.extend(_misfits(pair))
    return Pairs(tuple(pairs), tuple(findings))


def _unmatched(name: str) -> Finding:
    if problem := name_other_kind(name) or name_extra(name):
        return Finding("other method", name, problem)
    if name.endswith((".weight", ".bias", ".scale")) and "lora" not in name:
        return Finding("model", name)
    return Finding("unmatched", name)


def _repeated_slots(pairs: list[Pair]) -> Iterator[Finding]:
    """The same module under two names, or as a whole and in parts: a loader would drop one, or add both."""
    by_module: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.module:
            by_module.setdefault(pair.module, []).append(pair)
    for group in by_module.values():
        for index, pair in enumerate(group):
            other = next(
                (seen for seen in group[:index] if seen.part == pair.part or not (seen.part and pair.part)), None
            )
            if other is not None:
                yield Finding("repeated", pair.name, f"says the same as {other.name}: both update {pair.module}")


def _misfits(pair: Pair) -> Iterator[Finding]:
    if not pair.module:
        yield Finding("text encoder" if is_of_text_encoder(pair.name) else "outside", pair.name)
    missing = [matrix for matrix in _MATRICES if getattr(pair, matrix) is None]
    if missing:
        yield Finding("no matrix" if len(missing) == 2 else f"no {missing[0]}", pair.name)
        return
    if wrong := [f"{info.name} is {info.dtype}" for info in pair.wrong_dtypes]:
        yield Finding("dtype", pair.name, f"{' and '.join(wrong)}, not a floating-point number of 16, 32 or 64 bits")
    elif pair.tiles > 1:
        assert pair.shapes is not None
        yield Finding(
            "tiled",
            pair.name,
            f"tiled down matrix: {pair.shapes[0]} rows for rank {pair.rank}, a recipe for mflux before 0.19; "
            "from 0.19 on it is a shape error",
        )
    elif not pair.is_whole:
        assert pair.down is not None
        assert pair.up is not None
        if not pair.has_number:
            assert pair.alpha is not None
            detail = f"misshapen: its alpha is {list(pair.alpha.shape)}, not one number"
        else:
            detail = f"misshapen: down is {list(pair.down.shape)}, up {list(pair.up.shape)}"
            if pair.shapes is not None:
                detail += f"; the ranks {pair.shapes[0]} and {pair.shapes[3]} differ"
        yield Finding("misshapen", pair.name, detail)
