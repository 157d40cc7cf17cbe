"""From the header of a Z-Image or FLUX.2 adapter to what it adds to which layer; or every fault. Reads no matrix.

An alpha that the file does not give counts as its rank: that is how mflux-train, ai-toolkit and diffusers mean it.
Not here: FLUX.1's dialects (`adapters.reading`), bytes (`adapters.family_source`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sq_pipeline.adapters.dialects import name_other_kind, parse_key
from sq_pipeline.adapters.family_names import find_slot, parts_of
from sq_pipeline.adapters.form import ALPHA_DTYPES, FLOATS, Matrix, Patch
from sq_pipeline.adapters.reading import Reading
from sq_pipeline.adapters.scales import METADATA_KEY, PeftScales, read_peft_scales, scale_of
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import FAMILY_NAMES, Family
from sq_pipeline.common.errors import Fault

_MEND = "export the adapter again"


@dataclass
class _Slot:
    """What was found for one slot: its name in the file, and the tensors by what they are (`down`, `up`, `alpha`)."""

    module: str
    part: str
    name: str
    infos: dict[str, TensorInfo] = field(default_factory=dict[str, TensorInfo])

    @property
    def slot(self) -> str:
        """Module and part as one name."""
        return f"{self.module}.{self.part}" if self.part else self.module


def read_family_form(
    tensors: Mapping[str, TensorInfo],
    metadata: Mapping[str, str],
    alphas: Mapping[str, float],
    family: Family,
    file: str,
) -> Reading:
    """Read a whole adapter of a family. `alphas`: the value of each alpha tensor, by key."""
    faults: list[Fault] = []
    slots: dict[str, _Slot] = {}
    if not tensors:
        faults.append(Fault(file, "", "holds no tensors", _MEND))
    for key, info in sorted(tensors.items()):
        parsed = parse_key(key)
        found = None if parsed is None else find_slot(parsed.module, family)
        if parsed is None or parsed.is_mlx or found is None:
            faults.append(_unknown(key, family, file))
            continue
        if problem := _shape_problem(info, parsed.matrix):
            faults.append(Fault(file, key, problem, _MEND))
        slot = _Slot(*found, parsed.module)
        infos = slots.setdefault(slot.slot, slot).infos
        if parsed.matrix in infos:
            faults.append(Fault(file, key, f"says the same as {infos[parsed.matrix].name}", "leave one of them"))
        infos.setdefault(parsed.matrix, info)
    peft = read_peft_scales(metadata)
    if isinstance(peft, str):
        faults.append(Fault(file, f"metadata {METADATA_KEY}", peft, _MEND))
        peft = None
    patches: dict[str, Patch] = {}
    for name, slot in sorted(slots.items()):
        patch = _read_slot(slot, alphas, peft, file)
        if isinstance(patch, Patch):
            patches[name] = patch
        else:
            faults.extend(patch)
    for slot in slots.values():
        if slot.part and slot.module in slots:
            faults.append(Fault(file, slot.module, "is there whole and in parts", "leave one of them"))
    return Reading(patches, tuple(dict.fromkeys(faults)))


def _unknown(key: str, family: Family, file: str) -> Fault:
    if other := name_other_kind(key):
        return Fault(file, key, other, "make a LoRA of it with its own tool")
    problem = f"is no layer's of a {FAMILY_NAMES[family]} LoRA"
    return Fault(file, key, problem, "was it trained for another base model?")


def _shape_problem(info: TensorInfo, matrix: str) -> str:
    if matrix == "alpha":
        is_number = info.dtype in ALPHA_DTYPES and math.prod(info.shape) == 1
        return "" if is_number else f"is {info.dtype} {list(info.shape)}, not one number"
    if info.dtype not in FLOATS or len(info.shape) != 2 or 0 in info.shape:
        return f"is {info.dtype} {list(info.shape)}, not a filled matrix of floating-point numbers"
    return ""


def _matrix(info: TensorInfo) -> Matrix:
    rows, columns = info.shape
    return Matrix(info.name, info.dtype, rows, columns)


def _read_slot(slot: _Slot, alphas: Mapping[str, float], peft: PeftScales | None, file: str) -> Patch | list[Fault]:
    """One slot's patch, or what is wrong with it."""
    infos = slot.infos
    if missing := [matrix for matrix in ("down", "up") if matrix not in infos]:
        there = next(iter(infos.values())).name
        problem = f"its {' and '.join(missing)} matrix is missing ({there} is there)"
        return [Fault(file, slot.name, problem, _MEND)]
    if any(_shape_problem(info, matrix) for matrix, info in infos.items()):
        return []  # said already
    down, up = _matrix(infos["down"]), _matrix(infos["up"])
    if down.rows != up.columns:
        problem = f"misshapen: the ranks {down.rows} and {up.columns} of its matrices differ"
        return [Fault(file, slot.name, problem, _MEND)]
    parts = 1 if slot.part else len(parts_of(slot.module)) or 1
    if up.rows % parts:
        problem = f"misshapen: its {up.rows} outputs cannot be cut in {parts} equal parts"
        return [Fault(file, slot.name, problem, "was it trained for another base model?")]
    info = infos.get("alpha")
    alpha = None if info is None else alphas[info.name]
    if info is not None and alpha is not None and not math.isfinite(alpha):
        return [Fault(file, info.name, "is no finite number", "write the alpha it was trained with")]
    scale = scale_of(slot.name, down.rows, alpha, peft)
    return Patch(slot.module, slot.part, down, up, scale.alpha, scale.value)
