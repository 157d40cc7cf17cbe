"""What is doubtful about a readable adapter: it changes nothing, is far too strong, fits no FLUX.1, tells of a disk.

A remap for a person stops at each, and goes on where they allow it. Not here: what no target can hold (`remap`).
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sq_pipeline.adapters.base_named import other_base
from sq_pipeline.adapters.inspect.family_fit import other_model
from sq_pipeline.adapters.inspect.findings import Doubt, changes_nothing, lines_of, told_apart
from sq_pipeline.adapters.inspect.flux_fit import fit
from sq_pipeline.adapters.inspect.metadata_text import path_fault
from sq_pipeline.adapters.inspect.pairs import pair_up
from sq_pipeline.adapters.inspect.scale_findings import judge_patches
from sq_pipeline.adapters.source import AdapterSource
from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.hints import command, pass_option

_IS_IT_FLUX1 = f"was it trained for FLUX.1? {pass_option('--allow', Doubt.BASE)} if it was"


def find_doubts(
    adapter: AdapterSource, zeros: Collection[str], base_models: Sequence[Flux1Model], allowed: Collection[Doubt]
) -> Iterator[Fault]:
    """A fault for each doubt that is not allowed. `zeros`: the tensors that hold nothing but zeros.

    A module whose widths do not fit the others is a fault whatever is allowed.
    """
    path, modules = str(adapter.file.path), len(adapter.patches)
    pairs = pair_up(adapter.file.tensors, [adapter.keymap])
    fitted = fit(pairs.pairs, base_models)
    misfits = [finding for finding in fitted.findings if finding.kind == "width"]
    model = other_model(adapter.file, pairs.pairs) if misfits else None
    inspect = command("adapter inspect", Path(path))
    way = f"it is of {model}, which no target here is for; {inspect} says who loads it as it is"
    for line in lines_of(misfits, modules):
        yield Fault(path, "", line, way if model else "check the base model it was trained for")
    for doubt, line, hint in _doubts(adapter, zeros):
        if doubt not in allowed:
            yield Fault(path, "", line, f"{hint}, or {pass_option('--allow', doubt)}")
    if Doubt.BASE not in allowed:
        if said := other_base(adapter.file):
            yield Fault(path, "", f"{said}; its names and shapes are FLUX.1's", _IS_IT_FLUX1)
        lines = lines_of([finding for finding in fitted.findings if finding.kind == "block"], modules)
        for line in (*lines, *([fitted.misfit] if fitted.misfit else [])):
            yield Fault(path, "", line, _IS_IT_FLUX1)


def remarks_on(adapter: AdapterSource, zeros: Collection[str]) -> tuple[str, ...]:
    """What is to be told of an adapter's strength and stops nobody."""
    findings = list(judge_patches(adapter.patches.values(), zeros))
    return (*adapter.notes, *told_apart(findings, len(adapter.patches))[1])


def _doubts(adapter: AdapterSource, zeros: Collection[str]) -> Iterator[tuple[Doubt, str, str]]:
    findings = list(judge_patches(adapter.patches.values(), zeros))
    if changes_nothing(findings, len(adapter.patches)):
        yield (
            Doubt.ZERO,
            "the whole adapter's update is zero; it changes nothing",
            "train it, or take another checkpoint",
        )
    wrong = [finding for finding in findings if not finding.is_remark]
    for line in lines_of(wrong, len(adapter.patches)):
        yield Doubt.STRENGTH, line, "write the alpha it was trained with"
    if fault := path_fault(adapter.file.metadata):
        yield Doubt.METADATA, fault, "clear it (no target's file will have it)"
