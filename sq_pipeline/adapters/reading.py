"""From a file's header to the internal form, by the keymap of its dialect or family; or every fault. Reads no matrix.

Not here: bytes (`adapters.source`), writing another dialect (`adapters.remap.plan`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sq_pipeline.adapters.dialects import is_of_text_encoder, module_name
from sq_pipeline.adapters.form import Matrix, Patch, parts_of
from sq_pipeline.adapters.keymap import FamilyKeymap, Keymap, Renamed
from sq_pipeline.adapters.outside import find_outside, name_extra
from sq_pipeline.adapters.reading_faults import Untaken, shape_kind, unknown_kind
from sq_pipeline.adapters.slots import split_slot
from sq_pipeline.adapters.strength.scales import TENSOR, Scale, StatedScale, scale_of
from sq_pipeline.adapters.strength.stated_scales import (
    NOTHING_STATED,
    MissingAlpha,
    Sized,
    Stated,
    offer_of,
    stated_faults,
    stated_notes,
)
from sq_pipeline.adapters.strength.trained_apart import SplitQkv
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import option, pass_option

_HINT = "export the adapter again"
ALPHAS_KEY = "sq.alphas"  # "added": a remap wrote them, to say scale 1 where the loader needs it said


@dataclass(frozen=True)
class Reading:
    """What a file's names and shapes say. `patches` by slot, in the order of their names; empty `faults`: all of it.

    `left_out`: keys of the text encoders, or of no layer's update, where the caller lets them go. `notes`: what it says
    of strength that is to be told; `loaded`: by slot, the scale that loaders take from the file.
    """

    patches: Mapping[str, Patch]
    faults: tuple[Fault, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loaded: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class ReadOptions:
    """What a person may decide where a file leaves it open."""

    missing_alpha: MissingAlpha = "refuse"
    leaves_out_text_encoder: bool = False
    split_qkv: SplitQkv = "ask"
    leaves_out_unapplied: bool = False


AS_THE_FILE_SAYS = ReadOptions()
AS_LOADERS_MEAN = ReadOptions(missing_alpha="stated or rank")


@dataclass
class _Slot:
    """What was found for one slot so far."""

    infos: dict[str, tuple[TensorInfo, Renamed]] = field(default_factory=dict[str, tuple[TensorInfo, Renamed]])


def read_form(
    tensors: Mapping[str, TensorInfo],
    metadata: Mapping[str, str],
    alphas: Mapping[str, float],
    keymap: Keymap,
    file: str,
    options: ReadOptions = AS_THE_FILE_SAYS,
    stated: Stated = NOTHING_STATED,
) -> Reading:
    """Read a whole adapter. `alphas`: the value of each alpha tensor, by key; `stated`: what else says its strength."""
    faults: list[Fault] = list(stated.faults)
    slots: dict[str, _Slot] = {}
    left_out: list[str] = []
    untaken = Untaken()
    if not tensors:
        faults.append(Fault(file, "", "holds no tensors", _HINT))
    for key, info in sorted(tensors.items()):
        renamed = keymap.rename(key) or find_outside(key, keymap)
        if not renamed:
            if (is_of_text_encoder(key) and options.leaves_out_text_encoder) or (
                name_extra(key) and options.leaves_out_unapplied
            ):
                left_out.append(key)
            else:
                untaken.add(unknown_kind(key, keymap), key)
            continue
        ending = renamed[0].target.rpartition(".")[2]
        if kind := shape_kind(info, ending):
            untaken.add(kind, key)
        for part in renamed:
            found = slots.setdefault(part.target.rpartition(".")[0], _Slot()).infos
            if ending in found:
                faults.append(Fault(file, key, f"says the same as {found[ending][0].name}", "leave one of them"))
            found.setdefault(ending, (info, part))
    faults.extend(untaken.faults(file))
    chosen = stated.chosen(options.missing_alpha, needs_tensors=keymap.alpha == "always")
    patches: dict[str, Patch] = {}
    for slot, found in sorted(slots.items()):
        patch = _read_slot(slot, found, alphas, chosen, file)
        if isinstance(patch, Patch) and isinstance(keymap, FamilyKeymap):
            patch = _insist_on_equal_parts(patch, file)
        if isinstance(patch, Patch):
            patches[slot] = patch
        else:
            faults.extend(patch)
    faults.extend(_mixed_modules(patches, file))
    sized = [_sized(patch, slots[slot], chosen) for slot, patch in patches.items()]
    faults.extend(stated_faults(sized, stated, chosen, file))
    notes = tuple(stated_notes(sized, stated, chosen))
    loaded = {slot: module.scale.loaded for slot, module in zip(patches, sized, strict=True)}
    missing = _missing_alphas(patches, sized, stated, keymap, file, options)
    if metadata.get(ALPHAS_KEY) == "added" and all(patch.scale == 1.0 for patch in patches.values()):
        patches = {slot: replace(patch, alpha=None) for slot, patch in patches.items()}
    return Reading(patches, (*dict.fromkeys((*faults, *missing)),), tuple(left_out), notes, loaded)


def _insist_on_equal_parts(patch: Patch, file: str) -> Patch | list[Fault]:
    parts = len(parts_of(patch.module))
    if patch.part or not parts or patch.up.rows % parts == 0:
        return patch
    return [_misshapen(file, patch.up.key, f"its {patch.up.rows} outputs cannot be cut in {parts} equal parts")]


def _matrix(info: TensorInfo, renamed: Renamed) -> Matrix:
    # a rule turns a tensor to `lora_a` (inputs, rank), or leaves it so: the other way round from `down` and `up`
    is_transposed = not renamed.is_transposed
    rows, columns = info.shape[::-1] if is_transposed else info.shape
    return Matrix(info.name, info.dtype, rows, columns, is_transposed)


def _read_slot(
    slot: str, found: _Slot, alphas: Mapping[str, float], stated: StatedScale | None, file: str
) -> Patch | list[Fault]:
    """One slot's patch, or what is wrong with it."""
    infos = found.infos
    if missing := [ending for ending in ("lora_a", "lora_b") if ending not in infos]:
        there = next(iter(infos.values()))[0].name
        return [
            Fault(file, f"{slot}.{ending}", f"missing: its partner is there ({there})", "export it again")
            for ending in missing
        ]
    if any(shape_kind(info, ending) for ending, (info, _) in infos.items()):
        return []  # said already
    (down_info, down_name), (up_info, up_name) = infos["lora_a"], infos["lora_b"]
    down, up = _matrix(down_info, down_name), _matrix(up_info, up_name)
    module, part = split_slot(slot)
    if up_name.swaps_halves:
        if up.rows % 2:
            return [_misshapen(file, up_info.name, f"its {up.rows} outputs are no two halves")]
        up = replace(up, swaps_halves=True)
    if up_name.share is not None:
        first, end, parts = up_name.share
        if up.rows % parts:
            return [_misshapen(file, up_info.name, f"its {up.rows} outputs cannot be cut in {parts} equal parts")]
        up = replace(up, rows=(end - first) * up.rows // parts, row_span=_span(first, end, up.rows // parts))
    if down_name.tile is not None:
        index, tiles = down_name.tile
        if down.rows == tiles * up.columns:
            down = replace(down, rows=up.columns, row_span=_span(index, index + 1, up.columns))
        elif down.rows == up.columns and down.rows % tiles == 0:
            problem = f"its {down.rows} rows are not tiled: mflux before 0.19 would cut them in {tiles} and fail"
            return [Fault(file, down_info.name, problem, f"{pass_option('--from', 'kohya')} to read it so")]
    if down.rows != up.columns:
        return [_ranks_differ(file, module, down_info, up_info, down, up)]
    info = infos["alpha"][0] if "alpha" in infos else None
    alpha = None if info is None else alphas[info.name]
    if info is not None and alpha is not None and not math.isfinite(alpha):
        return [Fault(file, info.name, "is no finite number", "write the alpha it was trained with")]
    scale = scale_of(module_name(down_info.name), down.rows, alpha, stated)
    if info is None:
        return Patch(module, part, down, up, scale.alpha, scale.value)
    return Patch(module, part, down, up, scale.alpha, scale.value, info.dtype, info.shape)


def _sized(patch: Patch, found: _Slot, stated: StatedScale | None) -> Sized:
    """A patch's module by the file's name, and where its scale is from."""
    source = TENSOR if "alpha" in found.infos else stated.source if stated is not None else ""
    loaded = patch.scale if source in (TENSOR, "metadata") else 1.0
    return Sized(module_name(patch.down.key), patch.rank, Scale(patch.alpha, source, patch.scale, loaded))


def _span(first: int, end: int, size: int) -> tuple[int, int]:
    return first * size, end * size


def _misshapen(file: str, key: str, problem: str) -> Fault:
    return Fault(file, key, f"misshapen: {problem}", "check the base model, and the keymap")


def _ranks_differ(
    file: str, module: str, down_info: TensorInfo, up_info: TensorInfo, down: Matrix, up: Matrix
) -> Fault:
    tiles = len(parts_of(module))  # mflux before 0.19 cuts a fused down matrix in as many
    if tiles and down.rows == tiles * up.columns:
        problem = (
            f"misshapen: tiled: {tiles} down matrices of rank {up.columns}, one after the other, as recipes for mflux "
            "before 0.19 wrote them"
        )
        way = f"{pass_option('--from', 'mflux-before-0.19')} to read it so"
        return Fault(file, down_info.name, problem, way)
    words = [f"{info.name.removeprefix(f'{module}.')} is {list(info.shape)}" for info in (down_info, up_info)]
    problem = (
        f"misshapen: {words[0]}, {words[1].replace(' is ', ' ', 1)}; the ranks {down.rows} and {up.columns} differ"
    )
    return Fault(file, module, problem, _HINT)


def _mixed_modules(patches: Mapping[str, Patch], file: str) -> list[Fault]:
    """Modules that are there whole and in parts, or whose parts do not belong together."""
    faults: list[Fault] = []
    modules: dict[str, list[Patch]] = {}
    for patch in patches.values():
        modules.setdefault(patch.module, []).append(patch)
    for module, members in modules.items():
        if len(members) == 1:
            continue
        if any(not patch.part for patch in members):
            faults.append(Fault(file, module, "is there whole and in parts", "leave one of them"))
            continue
        units = {patch.up.rows / dict(parts_of(module))[patch.part] for patch in members}
        widths = {patch.down.columns for patch in members}
        if len(widths) > 1 or len(units) > 1:
            sizes = ", ".join(f"{p.part} {p.down.columns} → {p.up.rows}" for p in members)
            faults.append(_misshapen(file, module, f"its parts do not fit together ({sizes})"))
    return faults


def _missing_alphas(
    patches: Mapping[str, Patch],
    sized: list[Sized],
    stated: Stated,
    keymap: Keymap,
    file: str,
    options: ReadOptions,
) -> list[Fault]:
    """Alphas that are missing where that leaves the strength open: loaders differ on what it means."""
    without = [patch for patch in patches.values() if patch.alpha is None]
    is_open = bool(without) and (keymap.alpha == "always" or len(without) < len(patches))
    if not is_open or options.missing_alpha in ("rank", "stated or rank"):
        return []
    others = "all of them" if len(without) == len(patches) else f"{len(without)} of {len(patches)}"
    problem = f"alpha missing for {others}, {without[0].slot} first; loaders differ on the strength they then use"
    first = next(module for module in sized if module.scale.alpha is None)
    offer = offer_of(stated, first.name, first.rank) or "pass "
    rank = option("adapter remap", "--missing-alpha", "rank")
    hint = f"{offer}{rank} if it was trained at alpha = rank (scale 1), or write the alphas"
    return [Fault(file, "", problem, hint)]
