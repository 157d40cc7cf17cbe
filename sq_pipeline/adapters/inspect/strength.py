"""The strength of a file's modules, for the report: where each scale is from, and what is to be said of the places.

Not here: what is said of a scale by itself (`scale_findings`), the places (`adapters.strength.stated_scales`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sq_pipeline.adapters.form import Matrix, parts_of
from sq_pipeline.adapters.inspect.pairs import Pair
from sq_pipeline.adapters.inspect.report import ModuleRow
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.reading_faults import for_other_commands
from sq_pipeline.adapters.safetensors_file import SafetensorsFile
from sq_pipeline.adapters.source import bits_of
from sq_pipeline.adapters.strength.scales import TENSOR, Scale, StatedScale
from sq_pipeline.adapters.strength.stated_scales import Sized, Stated, find_stated, stated_faults, stated_notes
from sq_pipeline.adapters.strength.trained_apart import FusedUpdate, judge_apart
from sq_pipeline.common.errors import Fault

Measured = tuple[Pair, ModuleRow, Scale]


@dataclass(frozen=True)
class Strength:
    """The places of a file, and the one that counts where a module has no alpha of its own."""

    stated: Stated
    chosen: StatedScale | None


def strength_of(file: SafetensorsFile, keymaps: Sequence[Keymap]) -> Strength:
    """As a remap would take it that nobody told anything."""
    stated = find_stated(file)
    needs_tensors = len(keymaps) == 1 and keymaps[0].alpha == "always"
    return Strength(stated, stated.chosen("refuse", needs_tensors=needs_tensors))


def settle_strength(
    file: SafetensorsFile, strength: Strength, measured: Sequence[Measured]
) -> tuple[list[Measured], list[str], list[str]]:
    """The same modules with parts that were trained apart at their own scale; faults and remarks as lines."""
    sized = [Sized(pair.name, pair.rank, scale) for pair, _, scale in measured]
    faults = [*strength.stated.faults, *stated_faults(sized, strength.stated, strength.chosen, "")]
    notes = list(stated_notes(sized, strength.stated, strength.chosen))
    fused = [
        FusedUpdate(pair.name, parts_of(pair.module), pair.rank, scale.alpha, _up_matrix(pair))
        for pair, _, scale in measured
        if pair.cut > 1 and pair.tiles == 1 and scale.source == TENSOR and scale.alpha is not None
    ]
    others = {scale.value for pair, _, scale in measured if pair.module and not parts_of(pair.module)}
    if fused:
        apart = judge_apart(fused, others, file.metadata, "ask", lambda matrix: bits_of(file, matrix), "")
        faults.extend(apart.faults)
        notes.extend(apart.notes)
        measured = [_times(one, apart.factors.get(one[0].name, 1)) for one in measured]
    return list(measured), [_told(replace(fault, file=str(file.path))) for fault in faults], notes


def _told(fault: Fault) -> str:
    fault = for_other_commands(fault)
    text = f"{fault.field}: {fault.problem}" if fault.field else fault.problem
    return f"{text}; {fault.hint}" if fault.hint.startswith("`") else text


def _times(measured: Measured, factor: int) -> Measured:
    pair, row, scale = measured
    if factor == 1:
        return measured
    norm = None if row.update_norm is None else row.update_norm * factor
    return pair, replace(row, scale=row.scale * factor, update_norm=norm), replace(scale, value=scale.value * factor)


def _up_matrix(pair: Pair) -> Matrix:
    assert pair.up is not None
    assert pair.shapes is not None
    return Matrix(pair.up.name, pair.up.dtype, pair.shapes[2], pair.shapes[3], pair.is_transposed)
