"""Fused modules whose parts were trained apart, with the alpha of one part: what sd-scripts' `split_qkv` stores.

Its trainer scales each part by alpha over the part's own rank, and stores the parts side by side along the rank with
that alpha (`networks/lora_flux.py`, `state_dict`), so that every loader, its own too, takes a third or a quarter.
`networks/convert_flux_lora.py` stores parts so with the whole rank as alpha: then nothing is in doubt.
Not here: files that a remap of ours put together, which say so (`part_spans`).
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from sq_pipeline.adapters.form import Matrix
from sq_pipeline.adapters.tensor_bits import has_magnitude
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import option, pass_option

SplitQkv = Literal["ask", "yes", "no"]
_OURS = "sq.keymap"


@dataclass(frozen=True)
class FusedUpdate:
    """The update of a whole fused module. `parts`: the names of its parts, and their shares of the outputs."""

    name: str
    parts: tuple[tuple[str, int], ...]
    rank: int
    alpha: float
    up: Matrix


@dataclass(frozen=True)
class Apart:
    """`factors`: by what the scale of which module is to be multiplied; what is told, and what stops a reading."""

    factors: Mapping[str, int]
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def judge_apart(
    fused: Sequence[FusedUpdate],
    others: Collection[float],
    metadata: Mapping[str, str],
    choice: SplitQkv,
    bits_of: Callable[[Matrix], npt.NDArray[Any]],
    file: str,
) -> Apart:
    """Whether fused modules were trained in parts. `others`: the scales of the modules that have no parts.

    Nothing is in doubt where alpha over the whole rank gives what the other modules have.
    """
    if _OURS in metadata:
        return Apart({})  # a remap wrote its alphas as they count
    odd = [one for one in fused if one.alpha and one.alpha / one.rank not in (others or {1.0})]
    found = [one for one in odd if _is_block_diagonal(one, bits_of)]
    if not found or choice == "no":
        return Apart({})
    counts = Counter(len(one.parts) for one in found)
    times = " and ".join(f"{count} at {parts} times the rank" for parts, count in sorted(counts.items()))
    if choice == "yes" or _is_told(metadata):
        note = f"{len(found)} modules were trained in parts (split_qkv: {times}): their alpha counts at the part's rank"
        return Apart({one.name: len(one.parts) for one in found}, (f"{note}, scale {_scales(found, apart=True)}",))
    problem = (
        f"{len(found)} modules hold parts side by side, with a block-diagonal up matrix ({times} of a part; first "
        f"{found[0].name}), and nothing says whether their alpha is a part's, as sd-scripts' split_qkv stores it"
    )
    hint = (
        f"{pass_option('--split-qkv', 'yes')} if it is (scale {_scales(found, apart=True)}), "
        f"{option('adapter remap', '--split-qkv', 'no')} if it is the whole "
        f"module's (scale {_scales(found, apart=False)})"
    )
    return Apart({}, faults=(Fault(file, "", problem, hint),))


def _scales(found: Sequence[FusedUpdate], *, apart: bool) -> str:
    values = {one.alpha / one.rank * (len(one.parts) if apart else 1) for one in found}
    return " and ".join(f"{value:.3g}" for value in sorted(values)[:4])


def _is_told(metadata: Mapping[str, str]) -> bool:
    try:
        values: Any = json.loads(metadata.get("ss_network_args", "{}"))
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and str(values.get("split_qkv", "")).lower() == "true"


def _is_block_diagonal(one: FusedUpdate, bits_of: Callable[[Matrix], npt.NDArray[Any]]) -> bool:
    if one.rank % len(one.parts) or one.up.rows % sum(share for _, share in one.parts):
        return False
    info, bits = TensorInfo(one.up.key, one.up.dtype, (one.up.rows, one.rank)), bits_of(one.up)
    return has_magnitude(info, bits) and not any(has_magnitude(info, bits[place]) for place in _off_diagonal(one))


def _off_diagonal(one: FusedUpdate) -> Iterator[tuple[slice, slice]]:
    unit, width = one.up.rows // sum(share for _, share in one.parts), one.rank // len(one.parts)
    top = 0
    for index, (_, share) in enumerate(one.parts):
        rows = slice(top, top + share * unit)
        yield rows, slice(0, index * width)
        yield rows, slice((index + 1) * width, None)
        top += share * unit
