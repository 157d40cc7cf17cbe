"""Modules of a readable adapter that a target has no names for: left out where a person says so, with their share.

Not here: which those are (`adapters.outside`).
"""

from dataclasses import dataclass, replace

import numpy as np

from sq_pipeline.adapters.form import Patch
from sq_pipeline.adapters.outside import HOLDING, OUTSIDE
from sq_pipeline.adapters.reading_faults import some
from sq_pipeline.adapters.source import AdapterSource
from sq_pipeline.common.errors import AdapterError, Fault
from sq_pipeline.common.hints import pass_option


@dataclass(frozen=True)
class Unapplied:
    """What was left out: so many of the modules, and the share of the whole update (of its squared norm)."""

    modules: int
    of: int
    share: float


def leave_out_unapplied(
    adapter: AdapterSource, target: str, *, is_allowed: bool
) -> tuple[AdapterSource, Unapplied | None]:
    """The adapter without what the target does not hold; raises AdapterError where nobody allowed that."""
    outside = [slot for slot, patch in adapter.patches.items() if patch.module in OUTSIDE]
    if target in HOLDING or not outside:
        return adapter, None
    kept = {slot: patch for slot, patch in adapter.patches.items() if slot not in outside}
    path, told = str(adapter.file.path), f"{len(outside)} of {len(adapter.patches)} modules"
    if not kept:
        problem = f"none of its modules is in the blocks, which are all that {target} holds"
        raise AdapterError(Fault(path, "", problem, "write it for kohya or diffusers, which hold them"))
    squares = {slot: _square(adapter, patch) for slot, patch in adapter.patches.items()}
    share = sum(squares[slot] for slot in outside) / (sum(squares.values()) or 1.0)
    if not is_allowed:
        problem = f"{told} are outside of the blocks ({some(outside)}), which {target} does not load"
        hint = (
            f"{pass_option('--without', 'unapplied')} to leave them out, {share:.1%} of the update, "
            "or write it for kohya or diffusers"
        )
        raise AdapterError(Fault(path, "", problem, hint))
    note = f"left out: {told} ({some(outside)}), {share:.1%} of the update, which {target} does not load"
    without = replace(adapter, patches=kept, notes=(*adapter.notes, note))
    return without, Unapplied(len(outside), len(adapter.patches), share)


def _square(adapter: AdapterSource, patch: Patch) -> float:
    """The squared norm of scale · up @ down, by products of rank × rank."""
    down, up = (adapter.numbers(matrix).astype(np.float64) for matrix in (patch.down, patch.up))
    return float(patch.scale**2 * np.sum((down @ down.T) * (up.T @ up)))
