"""The remap as a plan: from the internal form and a keymap to every output tensor, or every fault. Moves no byte."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sq_pipeline.adapters.form import FLOATS, Matrix, Patch, parts_of
from sq_pipeline.adapters.keymap import Keymap, Renamed
from sq_pipeline.adapters.outside import name_outside
from sq_pipeline.adapters.part_spans import Spans
from sq_pipeline.adapters.remap.join import Joined, MatrixFacts, Piece, join_parts, leave_alone
from sq_pipeline.adapters.tensor_bits import holds_exactly
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.common.errors import Fault

# diffusers' converter for Kohya's names never ends on a negative alpha, and no other program writes one
_POSITIVE_ALPHAS = ("kohya", "diffusers")
_FLOAT_ALPHAS = FLOATS | {"F64"}  # an alpha of whole numbers diffusers refuses


@dataclass(frozen=True)
class Output:
    """One output tensor: `pieces` of the source's matrices on zeros, or the value of an alpha.

    `is_transposed`: written with columns first.
    """

    info: TensorInfo
    pieces: tuple[Piece, ...] = ()
    is_transposed: bool = False
    alpha: float | None = None


@dataclass(frozen=True)
class RemapPlan:
    """All outputs, sorted by name, and what the adapter is: covered modules and their ranks.

    `parts`: for modules that were put together, where each part lies along the rank. `adds_alphas`: that the source has
    none, and its scale is 1. `notes`: what the target cannot
    hold as it was, one line each.
    """

    outputs: tuple[Output, ...]
    modules: int
    ranks: tuple[int, ...]
    parts: Spans
    adds_alphas: bool
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class _Update:
    """What is written for one slot of the target."""

    slot: str
    joined: Joined


def plan_remap(
    patches: Mapping[str, Patch],
    keymap: Keymap,
    facts: MatrixFacts,
    file: str,
    base_model: Flux1Model | None = None,
) -> RemapPlan:
    """Plan the writing of a whole adapter. Total by construction: every patch goes somewhere, in the right shape.

    With `base_model`, every module of its blocks must be there with its widths. `facts` answers for the numbers.
    """
    faults: list[Fault] = []
    updates = list(_updates(patches, keymap, facts))
    folds = keymap.alpha == "never"
    scales = {update.joined.scale for update in updates}
    is_needed = scales != {1.0} or len({update.joined.rank for update in updates}) > 1
    # alphas that are there stay, needed or not: the way back is to give the very file
    is_there = any(patch.alpha is not None for patch in patches.values())
    writes_alphas = keymap.alpha == "always" or (keymap.alpha == "where_needed" and (is_needed or is_there))
    outputs: list[Output] = []
    taken: dict[str, str] = {}
    for update in updates:
        joined = update.joined.folded(facts) if folds else update.joined
        joined = joined.turned() if keymap.target in _POSITIVE_ALPHAS and joined.alpha < 0 else joined
        for output, fault in _write(joined, update, keymap, taken, file, writes_alphas=writes_alphas):
            outputs.append(output)
            if fault is not None:
                faults.append(fault)
    if base_model is not None:
        faults.extend(_check_coverage(patches, base_model, file))
    return RemapPlan(
        outputs=tuple(sorted(outputs, key=lambda output: output.info.name)),
        modules=len({patch.module for patch in patches.values()}),
        ranks=tuple(sorted({update.joined.rank for update in updates})),
        parts={update.slot: update.joined.spans for update in updates if update.joined.spans},
        adds_alphas=writes_alphas and not is_there and scales == {1.0},
        notes=tuple(_notes(updates, keymap, folds=folds)),
        faults=tuple(faults),
    )


def _updates(patches: Mapping[str, Patch], keymap: Keymap, facts: MatrixFacts) -> Iterator[_Update]:
    modules: dict[str, list[Patch]] = {}
    for patch in patches.values():
        modules.setdefault(patch.module, []).append(patch)
    for module, members in modules.items():
        if any(patch.part and not keymap.rename(f"{patch.slot}.lora_a") for patch in members):
            yield _Update(module, join_parts(members, facts))
        else:
            yield from (_Update(patch.slot, leave_alone(patch)) for patch in members)


def _write(
    joined: Joined, update: _Update, keymap: Keymap, taken: dict[str, str], file: str, *, writes_alphas: bool
) -> Iterator[tuple[Output, Fault | None]]:
    """The tensors of one update under the target's names, each with what is wrong with it."""
    modules: dict[str, None] = {}
    for ending, pieces in (("lora_a", joined.down), ("lora_b", joined.up)):
        key = f"{update.slot}.{ending}"
        rows, columns = (joined.rank, joined.columns) if ending == "lora_a" else (joined.rows, joined.rank)
        for renamed in keymap.rename(key) or name_outside(key, keymap.target):
            modules[renamed.target.partition(".lora_")[0]] = None
            output, fault = _write_matrix(pieces, joined.dtype_of(pieces), (rows, columns), renamed, key, keymap, file)
            yield output, fault or _taken(output.info.name, taken, key, file)
    if not writes_alphas:
        return
    named = keymap.rename(f"{update.slot}.alpha")
    names = [renamed.target for renamed in named] or [f"{module}.alpha" for module in modules]
    for name in names:
        is_kept = holds_exactly(joined.alpha_dtype, joined.alpha)
        is_kept = is_kept and (keymap.target != "diffusers" or joined.alpha_dtype in _FLOAT_ALPHAS)
        dtype = joined.alpha_dtype if is_kept else "F32"
        output = Output(TensorInfo(name, dtype, joined.alpha_shape), alpha=joined.alpha)
        yield output, _taken(name, taken, f"{update.slot}.alpha", file)


def _taken(name: str, taken: dict[str, str], key: str, file: str) -> Fault | None:
    if taken.setdefault(name, key) == key:
        return None
    return Fault(file, key, f"becomes {name}, as {taken[name]} does", "correct the keymap")


def _write_matrix(
    pieces: tuple[Piece, ...],
    dtype: str,
    shape: tuple[int, int],
    renamed: Renamed,
    key: str,
    keymap: Keymap,
    file: str,
) -> tuple[Output, Fault | None]:
    rows, columns = shape
    fault: Fault | None = None
    if renamed.swaps_halves:
        turned = ((piece, not piece.matrix.swaps_halves) for piece in pieces)
        pieces = tuple(replace(piece, matrix=replace(piece.matrix, swaps_halves=swaps)) for piece, swaps in turned)
    hint = f"check the base model, and {keymap.name}"
    if renamed.share is not None:
        first, end, parts = renamed.share
        if rows % parts:
            problem = f"misshapen: its {rows} outputs cannot be cut in {parts} equal parts"
            fault = Fault(file, pieces[0].matrix.key, problem, hint)
        top, bottom = first * rows // parts, end * rows // parts
        pieces = tuple(piece.cut_rows(top, bottom) for piece in pieces if piece.overlaps(top, bottom))
        rows = bottom - top
    # MLX keeps its matrices the other way round: only there a rule leaves them as they are in the internal form
    is_transposed = not renamed.is_transposed
    written = (columns, rows) if is_transposed else (rows, columns)
    if is_transposed != (keymap.target == "mlx"):
        rank = shape[0] if key.endswith("lora_a") else shape[1]
        problem = f"misshapen: {renamed.target} would be {list(written)}, with the rank {rank} on the wrong side"
        fault = Fault(file, pieces[0].matrix.key, problem, hint)
    return Output(TensorInfo(renamed.target, dtype, written), pieces, is_transposed), fault


def _notes(updates: Sequence[_Update], keymap: Keymap, *, folds: bool) -> Iterator[str]:
    if folds and (scaled := [update for update in updates if update.joined.scale != 1.0]):
        scales = ", ".join(f"{scale:g}" for scale in sorted({update.joined.scale for update in scaled}))
        yield (f"{keymap.target} has no alpha: the scale ({scales}) is multiplied into {len(scaled)} up matrices")
    if mixed := [update.slot for update in updates if update.joined.mixes_scales]:
        yield f"{len(mixed)} modules had parts of different scales, now multiplied into their up matrices"
    if blocks := [update for update in updates if update.joined.spans and update.joined.rank > update.joined.part_rank]:
        yield (
            f"{keymap.target} has no parts: {len(blocks)} modules are put together side by side along the rank, "
            f"up to rank {max(update.joined.rank for update in blocks)}"
        )


def _check_coverage(patches: Mapping[str, Patch], base_model: Flux1Model, file: str) -> Iterator[Fault]:
    modules: dict[str, list[Patch]] = {}
    for patch in patches.values():
        modules.setdefault(patch.module, []).append(patch)
    wanted = {name: (inputs, outputs) for name, inputs, outputs in modules_of(base_model)}
    for module, (inputs, outputs) in wanted.items():
        members = modules.get(module)
        if members is None:
            yield Fault(file, module, f"missing: {base_model.name} has this module", "train all blocks")
            continue
        parts = dict(parts_of(module))
        unit = outputs // sum(parts.values()) if parts else outputs
        for patch in members:
            width = unit * parts[patch.part] if patch.part else outputs
            for matrix, has, needs in ((patch.down, patch.down.columns, inputs), (patch.up, patch.up.rows, width)):
                if has != needs:
                    problem = f"misshapen: {_stored(matrix)}, {base_model.name} needs a width of {needs}"
                    yield Fault(file, matrix.key, problem, f"was it trained for {base_model.name}?")
        there = {patch.part for patch in members}
        for part in parts.keys() - there if there != {""} else ():
            yield Fault(file, f"{module}.{part}", f"missing: {base_model.name} has this part", "train all blocks")
    for module in sorted(modules.keys() - wanted.keys()):
        yield Fault(file, module, f"unknown: {base_model.name} has no such module", "check the base model")


def _stored(matrix: Matrix) -> list[int]:
    return [matrix.columns, matrix.rows] if matrix.is_transposed else [matrix.rows, matrix.columns]
