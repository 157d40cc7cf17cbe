"""From a file's header to the internal form, by the keymap of its dialect or family; or every fault. Reads no matrix.

Not here: bytes (`adapters.source`), writing another dialect (`adapters.remap.plan`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sq_pipeline.adapters.dialects import is_of_text_encoder, name_other_kind, parse_key
from sq_pipeline.adapters.form import ALPHA_DTYPES, FLOATS, Matrix, Patch, parts_of
from sq_pipeline.adapters.keymap import FamilyKeymap, Keymap, Renamed
from sq_pipeline.adapters.scales import METADATA_KEY, PeftScales, read_peft_scales, scale_of
from sq_pipeline.adapters.slots import split_slot
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FAMILY_NAMES
from sq_pipeline.common.errors import Fault

_HINT = "export the adapter again"
ALPHAS_KEY = "sq.alphas"  # "added": a remap wrote them, to say scale 1 where the loader needs it said


@dataclass(frozen=True)
class Reading:
    """What a file's names and shapes say. `patches` by slot, in the order of their names; empty `faults`: all of it.

    `left_out`: keys of the text encoders, where the caller lets them go.
    """

    patches: Mapping[str, Patch]
    faults: tuple[Fault, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """What a person may decide where a file leaves it open."""

    missing_alpha_is_rank: bool = False
    leaves_out_text_encoder: bool = False


AS_THE_FILE_SAYS = ReadOptions()


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
) -> Reading:
    """Read a whole adapter. `alphas`: the value of each alpha tensor, by key."""
    faults: list[Fault] = []
    slots: dict[str, _Slot] = {}
    left_out: list[str] = []
    if not tensors:
        faults.append(Fault(file, "", "holds no tensors", _HINT))
    for key, info in sorted(tensors.items()):
        renamed = keymap.rename(key)
        if not renamed:
            if is_of_text_encoder(key) and options.leaves_out_text_encoder:
                left_out.append(key)
            else:
                faults.append(_unknown(key, keymap, file))
            continue
        ending = renamed[0].target.rpartition(".")[2]
        if problem := _shape_problem(info, ending):
            faults.append(Fault(file, key, problem, _HINT))
        for part in renamed:
            found = slots.setdefault(part.target.rpartition(".")[0], _Slot()).infos
            if ending in found:
                faults.append(Fault(file, key, f"says the same as {found[ending][0].name}", "leave one of them"))
            found.setdefault(ending, (info, part))
    peft = read_peft_scales(metadata)
    if isinstance(peft, str):
        faults.append(Fault(file, f"metadata {METADATA_KEY}", peft, _HINT))
        peft = None
    patches: dict[str, Patch] = {}
    for slot, found in sorted(slots.items()):
        patch = _read_slot(slot, found, alphas, peft, file)
        if isinstance(patch, Patch) and isinstance(keymap, FamilyKeymap):
            patch = _insist_on_equal_parts(patch, file)
        if isinstance(patch, Patch):
            patches[slot] = patch
        else:
            faults.extend(patch)
    faults.extend(_mixed_modules(patches, file))
    missing = _missing_alphas(patches, keymap, file, options)
    if metadata.get(ALPHAS_KEY) == "added" and all(patch.scale == 1.0 for patch in patches.values()):
        patches = {slot: replace(patch, alpha=None) for slot, patch in patches.items()}
    return Reading(patches, (*dict.fromkeys((*faults, *missing)),), tuple(left_out))


def _insist_on_equal_parts(patch: Patch, file: str) -> Patch | list[Fault]:
    parts = len(parts_of(patch.module))
    if patch.part or not parts or patch.up.rows % parts == 0:
        return patch
    return [_misshapen(file, patch.up.key, f"its {patch.up.rows} outputs cannot be cut in {parts} equal parts")]


def _unknown(key: str, keymap: Keymap, file: str) -> Fault:
    if isinstance(keymap, FamilyKeymap):
        if other := name_other_kind(key):
            return Fault(file, key, other, "make a LoRA of it with its own tool")
        return Fault(
            file,
            key,
            f"is no layer's of a {FAMILY_NAMES[keymap.family]} LoRA",
            "was it trained for another base model?",
        )
    if is_of_text_encoder(key):
        return Fault(
            file, key, "is of a text encoder, which no target here holds", "pass --without-text-encoder to leave it out"
        )
    if other := name_other_kind(key):
        return Fault(file, key, other, "no target here holds it; make a LoRA of it with its own tool")
    return Fault(file, key, f"unknown key: no rule of {keymap.name} matches it", "see `adapter inspect`")


def _shape_problem(info: TensorInfo, ending: str) -> str:
    if ending == "alpha":
        is_number = info.dtype in ALPHA_DTYPES and math.prod(info.shape) == 1
        return "" if is_number else f"is {info.dtype} {list(info.shape)}, not one number"
    if info.dtype not in FLOATS or len(info.shape) != 2 or 0 in info.shape:
        return f"is {info.dtype} {list(info.shape)}, not a filled matrix of floating-point numbers"
    return ""


def _matrix(info: TensorInfo, renamed: Renamed) -> Matrix:
    # a rule turns a tensor to `lora_a` (inputs, rank), or leaves it so: the other way round from `down` and `up`
    is_transposed = not renamed.is_transposed
    rows, columns = info.shape[::-1] if is_transposed else info.shape
    return Matrix(info.name, info.dtype, rows, columns, is_transposed)


def _read_slot(
    slot: str, found: _Slot, alphas: Mapping[str, float], peft: PeftScales | None, file: str
) -> Patch | list[Fault]:
    """One slot's patch, or what is wrong with it."""
    infos = found.infos
    if missing := [ending for ending in ("lora_a", "lora_b") if ending not in infos]:
        there = next(iter(infos.values()))[0].name
        return [
            Fault(file, f"{slot}.{ending}", f"missing: its partner is there ({there})", "export it again")
            for ending in missing
        ]
    if any(_shape_problem(info, ending) for ending, (info, _) in infos.items()):
        return []  # said already
    (down_info, down_name), (up_info, up_name) = infos["lora_a"], infos["lora_b"]
    down, up = _matrix(down_info, down_name), _matrix(up_info, up_name)
    module, part = split_slot(slot)
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
            return [Fault(file, down_info.name, problem, "read it with `--from kohya`")]
    if down.rows != up.columns:
        return [_ranks_differ(file, module, down_info, up_info, down, up)]
    info = infos["alpha"][0] if "alpha" in infos else None
    alpha = None if info is None else alphas[info.name]
    if info is not None and alpha is not None and not math.isfinite(alpha):
        return [Fault(file, info.name, "is no finite number", "write the alpha it was trained with")]
    key = parse_key(down_info.name)
    scale = scale_of(down_info.name if key is None else key.module, down.rows, alpha, peft)
    if info is None:
        return Patch(module, part, down, up, scale.alpha, scale.value)
    return Patch(module, part, down, up, scale.alpha, scale.value, info.dtype, info.shape)


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
        return Fault(file, down_info.name, problem, "read it with `--from mflux-before-0.19`")
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


def _missing_alphas(patches: Mapping[str, Patch], keymap: Keymap, file: str, options: ReadOptions) -> list[Fault]:
    """Alphas that are missing where that leaves the strength open: loaders differ on what it means."""
    without = [patch for patch in patches.values() if patch.alpha is None]
    is_open = bool(without) and (keymap.alpha == "always" or len(without) < len(patches))
    if not is_open or options.missing_alpha_is_rank:
        return []
    others = "all of them" if len(without) == len(patches) else f"{len(without)} of {len(patches)}"
    problem = f"alpha missing for {others}, {without[0].slot} first; loaders differ on the strength they then use"
    hint = "pass --missing-alpha rank if it was trained at alpha = rank (scale 1), or write the alphas"
    return [Fault(file, "", problem, hint)]
