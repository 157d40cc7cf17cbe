"""The remap as a plan: from an adapter's header and a keymap to every output tensor, or every fault. Moves no byte."""

from collections.abc import Mapping
from dataclasses import dataclass

from sq_pipeline.core.adapter_header import TensorInfo
from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.errors import AdapterError, Fault
from sq_pipeline.core.flux_modules import MATRICES, modules_of
from sq_pipeline.core.keymap import Keymap, Renamed

_FLOATS = {"F32", "F16", "BF16"}


@dataclass(frozen=True)
class Move:
    """One output tensor: where it comes from (None for an alpha), what it becomes; `rows` are those it takes."""

    source: str | None
    output: TensorInfo
    is_transposed: bool
    rank: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class RemapPlan:
    """All outputs, sorted by name, and what the adapter is: covered modules and their ranks."""

    moves: tuple[Move, ...]
    modules: int
    ranks: tuple[int, ...]


def plan_remap(
    tensors: Mapping[str, TensorInfo], keymap: Keymap, file: str, base_model: BaseModel | None = None
) -> RemapPlan:
    """Plan the remap of a whole adapter. Total by construction: every key goes somewhere, alone, in the right shape.

    With `base_model`, every module of its blocks must be there with its widths. Raises one AdapterError that names
    every unknown, missing, duplicate or misshapen key.
    """
    faults: list[Fault] = []
    pairs: dict[str, dict[str, TensorInfo]] = {}
    moves: list[Move] = []
    taken: dict[str, str] = {}
    if not tensors:
        faults.append(Fault(file, "", "holds no tensors", "export the adapter again"))
    for key, info in sorted(tensors.items()):
        renamed = keymap.rename(key)
        module, _, matrix = key.rpartition(".")
        if not renamed or matrix not in MATRICES:
            faults.append(
                Fault(file, key, f"unknown key: no rule of {keymap.name} matches it", "see `adapter inspect`")
            )
            continue
        pairs.setdefault(module, {})[matrix] = info
        if info.dtype not in _FLOATS or len(info.shape) != 2 or 0 in info.shape:
            problem = f"is {info.dtype} {list(info.shape)}, not a filled matrix of floating-point numbers"
            faults.append(Fault(file, key, problem, "export the adapter again"))
            continue
        for part in renamed:
            if part.target in taken:
                problem = f"becomes {part.target}, as {taken[part.target]} does"
                faults.append(Fault(file, key, problem, "mend the keymap"))
                continue
            taken[part.target] = key
            move = _plan_move(info, part)
            if isinstance(move, str):
                faults.append(Fault(file, key, f"misshapen: {move}", f"check the base model, and {keymap.name}"))
            else:
                moves.append(move)
    faults.extend(_check_pairs(pairs, file))
    if base_model is not None:
        faults.extend(_check_coverage(pairs, base_model, file))
    if faults:
        raise AdapterError(faults)
    ranks = {module: pair["lora_a"].shape[1] for module, pair in pairs.items()}
    if keymap.alpha == "rank":
        moves.extend(_alphas(moves))
    ordered = tuple(sorted(moves, key=lambda move: move.output.name))
    return RemapPlan(ordered, len(pairs), tuple(sorted(set(ranks.values()))))


def _plan_move(info: TensorInfo, part: Renamed) -> Move | str:
    """The move of one matrix, or of its share; what is wrong with its shape otherwise."""
    is_down = info.name.endswith("lora_a")
    rank = info.shape[1] if is_down else info.shape[0]
    rows, columns = info.shape[::-1] if part.is_transposed else info.shape
    if rank != (rows if is_down else columns):
        return f"{part.target} would be {[rows, columns]}, with the rank {rank} on the wrong side"
    span = None
    if part.share is not None:
        first, end, parts = part.share
        if rows % parts:
            return f"its {rows} outputs cannot be cut in {parts} equal parts"
        span = (first * rows // parts, end * rows // parts)
        rows = span[1] - span[0]
    return Move(info.name, TensorInfo(part.target, info.dtype, (rows, columns)), part.is_transposed, rank, span)


def _alphas(moves: list[Move]) -> list[Move]:
    modules = {move.output.name.split(".lora_", 1)[0]: move.rank for move in moves}
    return [Move(None, TensorInfo(f"{module}.alpha", "F32", ()), False, rank) for module, rank in modules.items()]


def _check_pairs(pairs: Mapping[str, Mapping[str, TensorInfo]], file: str) -> list[Fault]:
    faults: list[Fault] = []
    for module, pair in pairs.items():
        for matrix in MATRICES:
            if matrix not in pair:
                faults.append(Fault(file, f"{module}.{matrix}", "missing: its partner is there", "export it again"))
        if len(pair) == 2 and all(len(info.shape) == 2 for info in pair.values()):
            down, up = pair["lora_a"].shape, pair["lora_b"].shape
            if down[1] != up[0]:
                problem = (
                    f"misshapen: lora_a is {list(down)}, lora_b {list(up)}; the ranks {down[1]} and {up[0]} differ"
                )
                faults.append(Fault(file, module, problem, "export the adapter again"))
    return faults


def _check_coverage(pairs: Mapping[str, Mapping[str, TensorInfo]], base_model: BaseModel, file: str) -> list[Fault]:
    faults: list[Fault] = []
    wanted = {name: (inputs, outputs) for name, inputs, outputs in modules_of(base_model)}
    for module, (inputs, outputs) in wanted.items():
        pair = pairs.get(module)
        if pair is None:
            faults.append(Fault(file, module, f"missing: {base_model.name} has this module", "train all blocks"))
            continue
        for matrix, axis, width in (("lora_a", 0, inputs), ("lora_b", 1, outputs)):
            info = pair.get(matrix)
            if info is not None and len(info.shape) == 2 and info.shape[axis] != width:
                problem = f"misshapen: {list(info.shape)}, {base_model.name} needs a width of {width}"
                faults.append(Fault(file, f"{module}.{matrix}", problem, f"was it trained for {base_model.name}?"))
    for module in sorted(pairs.keys() - wanted.keys()):
        faults.append(Fault(file, module, f"unknown: {base_model.name} has no such module", "check the base model"))
    return faults
