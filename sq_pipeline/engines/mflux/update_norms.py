"""Wanted updates as low-rank factors, and sums over the difference to what was applied, piece by piece.

Memory stays within a few pieces whatever the size of a layer. Not here: where updates come from (`fidelity`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import UpdateSource
from sq_pipeline.engines.mflux.flux_layers import MfluxLayer

_PIECE_NUMBERS = 1 << 21  # of a matrix that is computed at once: 8 MiB in float32
_BLOCK_NUMBERS = 1 << 17  # that are compared at once: they stay in a core's cache
_LEAST_UNIT = 1e-30  # a float32 that squares of are still numbers after a division by it

Floats = npt.NDArray[np.float32]
Piece = tuple[slice, Floats]  # rows of an update, and the update in them


@dataclass(frozen=True)
class WantedUpdate:
    """`unit_left` · `unit_right` · left @ right, where the largest number of `left` (rows, rank) and `right` is 1.

    In such units the squares of an update as small as 1e-30 are numbers too.
    """

    left: Floats
    right: Floats
    unit_left: float = 1.0
    unit_right: float = 1.0

    @property
    def unit(self) -> float:
        """What an update of 1 in these units is."""
        return self.unit_left * self.unit_right

    @property
    def norm(self) -> float:
        """Its Frobenius norm, from two rank × rank products."""
        left, right = self.left.astype(np.float64), self.right.astype(np.float64)
        square = float(np.sum((left.T @ left) * (right @ right.T)))
        return self.unit * float(np.sqrt(max(square, 0.0))) if square == square else square

    def transposed(self) -> "WantedUpdate":
        """The same update with rows and columns exchanged."""
        return WantedUpdate(self.right.T, self.left.T, self.unit_right, self.unit_left)


def wanted_update(layer: MfluxLayer, source: UpdateSource, lora_scale: float) -> WantedUpdate | str | None:
    """What a source adds to a layer of mflux, (outputs, inputs): its whole module's rows, its part, or both.

    None where it adds nothing; why not, in words, where its widths are not the layer's.
    """
    lefts: list[npt.NDArray[np.float64]] = []
    rights: list[Floats] = []
    for slot in dict.fromkeys((layer.module, layer.slot)):
        patch = source.patches.get(slot)
        if patch is None:
            continue
        is_whole = slot == layer.module
        outputs = layer.module_outputs if is_whole else layer.outputs
        found = (patch.up.rows, patch.down.columns)
        if found != (outputs, layer.inputs) or patch.up.columns != patch.down.rows:
            return f"the source has {found[1]} inputs and {found[0]} outputs, the model {layer.inputs} and {outputs}"
        up = source.numbers(patch.up)
        lefts.append((up[slice(*layer.rows)] if is_whole else up).astype(np.float64) * (lora_scale * patch.scale))
        rights.append(source.numbers(patch.down))
    return _in_units(np.concatenate(lefts, axis=1), np.concatenate(rights, axis=0)) if lefts else None


def unplaced_update(up: Floats, down: Floats, factor: float) -> WantedUpdate:
    """An update factor · up @ down for which there is no layer."""
    return _in_units(up.astype(np.float64) * factor, down)


def _in_units(left: npt.NDArray[np.float64], right: Floats) -> WantedUpdate:
    units = [_unit_of(matrix) for matrix in (left, right)]
    return WantedUpdate((left / units[0]).astype(np.float32), (right / units[1]).astype(np.float32), *units)


def _unit_of(matrix: npt.NDArray[np.floating]) -> float:
    largest = float(np.abs(matrix).max(initial=0.0))
    return max(largest, _LEAST_UNIT) if 0 < largest < np.inf else 1.0


def nothing_wanted(rows: int, columns: int) -> WantedUpdate:
    """An update of zero."""
    return WantedUpdate(np.zeros((rows, 1), np.float32), np.zeros((1, columns), np.float32))


def pieces_of(rows: int, columns: int, most_numbers: int = _PIECE_NUMBERS) -> Iterator[slice]:
    """The rows of a matrix in pieces of at most so many numbers, or one row."""
    step = max(1, most_numbers // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def sum_up(wanted: WantedUpdate, applied: Iterable[Piece]) -> tuple[tuple[float, float, float], float]:
    """Squares of wanted, applied and their difference, and the overlap of the two, in units of `wanted.unit`².

    `applied` brings all rows of an update of `wanted`'s shape. The sums are exact to about 1e-6.
    """
    totals = np.zeros(4)
    # on the CPU, because an accelerator may multiply float32 with fewer bits: its error would be taken for the loader's
    for rows, piece in applied:
        for part in pieces_of(*piece.shape, _BLOCK_NUMBERS):
            asked = (wanted.left[rows][part] @ wanted.right).ravel()
            got = (piece[part] / np.float32(wanted.unit_left) / np.float32(wanted.unit_right)).ravel()
            error = got - asked
            totals += [asked @ asked, got @ got, error @ error, got @ asked]
    wanted_square, applied_square, error_square, overlap = map(float, totals)
    return (wanted_square, applied_square, error_square), overlap
