"""Parts of a fused module put together without loss: parts with one down matrix share it, others lie side by side.

Side by side: down matrices one after the other along the rank, up matrices in blocks on zeros. Not here: names.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sq_pipeline.adapters.form import Matrix, Patch, parts_of
from sq_pipeline.adapters.part_spans import PartSpan


class MatrixFacts(Protocol):
    """What a plan must know of the numbers."""

    def digest(self, matrix: Matrix) -> str:
        """Equal for matrices of equal dtype, shape and bits."""
        ...

    def stays_exact(self, matrix: Matrix, factor: float) -> bool:
        """True when the matrix times `factor` can be kept in its own dtype without any rounding."""
        ...


@dataclass(frozen=True)
class Piece:
    """A matrix at its place in a larger one, multiplied by `factor`."""

    matrix: Matrix
    row: int = 0
    column: int = 0
    factor: float = 1.0

    def overlaps(self, top: int, bottom: int) -> bool:
        """True when some of its rows lie in the rows from `top` to `bottom`."""
        return self.row < bottom and top < self.row + self.matrix.rows

    def cut_rows(self, top: int, bottom: int) -> "Piece":
        """What lies in the rows from `top` to `bottom`, placed in a matrix of just these."""
        first, last = max(top - self.row, 0), min(bottom - self.row, self.matrix.rows)
        start = self.matrix.row_span[0] if self.matrix.row_span else 0
        matrix = replace(self.matrix, rows=last - first, row_span=(start + first, start + last))
        return replace(self, matrix=matrix, row=max(self.row - top, 0))


@dataclass(frozen=True)
class Joined:
    """The update of one module as it will be written: `down` is (rank, inputs), `up` (rows, rank).

    `alpha`: its scale as an alpha of this rank, and how it is to be held. `spans`: for each part, its rows of `down`;
    empty where the parts need no telling apart again.
    """

    down: tuple[Piece, ...]
    up: tuple[Piece, ...]
    rank: int
    rows: int
    scale: float
    alpha: float
    alpha_dtype: str = "F32"
    alpha_shape: tuple[int, ...] = ()
    spans: Mapping[str, PartSpan] = field(default_factory=dict[str, PartSpan])
    mixes_scales: bool = False
    is_promoted: bool = False

    @property
    def columns(self) -> int:
        """Inputs."""
        return self.down[0].matrix.columns

    @property
    def part_rank(self) -> int:
        """The largest rank of a part."""
        return max((span.end - span.start for span in self.spans.values()), default=self.rank)

    def dtype_of(self, pieces: tuple[Piece, ...]) -> str:
        """The dtype that holds all pieces: their own, or F32 where they differ or a factor needs it."""
        dtypes = {piece.matrix.dtype for piece in pieces}
        return "F32" if len(dtypes) > 1 or (self.is_promoted and pieces is self.up) else dtypes.pop()

    def folded(self, facts: MatrixFacts) -> "Joined":
        """The same update at scale 1, the scale multiplied into `up`."""
        if self.scale == 1.0:
            return self
        return _multiplied(self, tuple(piece.factor * self.scale for piece in self.up), facts)

    def turned(self) -> "Joined":
        """The same update with the sign of its alpha in `up`: every bit but the signs stays."""
        up = tuple(replace(piece, factor=-piece.factor) for piece in self.up)
        return replace(self, up=up, scale=-self.scale, alpha=-self.alpha)


def _multiplied(joined: Joined, factors: Sequence[float], facts: MatrixFacts) -> Joined:
    up = tuple(replace(piece, factor=factor) for piece, factor in zip(joined.up, factors, strict=True))
    is_exact = all(
        math.frexp(abs(piece.factor))[0] == 0.5 and facts.stays_exact(piece.matrix, piece.factor) for piece in up
    )
    is_promoted = joined.is_promoted or not is_exact
    return replace(joined, up=up, scale=1.0, alpha=float(joined.rank), is_promoted=is_promoted)


def leave_alone(patch: Patch) -> Joined:
    """The update of one slot as it is."""
    alpha = float(patch.rank) if patch.alpha is None else patch.alpha
    return Joined(
        down=(Piece(patch.down),),
        up=(Piece(patch.up),),
        rank=patch.rank,
        rows=patch.up.rows,
        scale=patch.scale,
        alpha=alpha,
        alpha_dtype=patch.alpha_dtype,
        alpha_shape=patch.alpha_shape,
    )


def join_parts(patches: Sequence[Patch], facts: MatrixFacts) -> Joined:
    """One update of the whole module from those of its parts; a part that is not there has zeros for outputs."""
    module = patches[0].module
    shares = dict(parts_of(module))
    members = sorted(patches, key=lambda patch: list(shares).index(patch.part))
    unit = members[0].up.rows // shares[members[0].part]
    tops: dict[str, int] = {}
    at = 0
    for part, share in shares.items():
        tops[part], at = at, at + share * unit
    starts: dict[str, int] = {}  # digest of a down matrix: its first row
    down: list[Piece] = []
    up: list[Piece] = []
    spans: dict[str, PartSpan] = {}
    rank = 0
    for patch in members:
        digest = facts.digest(patch.down)
        if digest not in starts:
            starts[digest] = rank
            down.append(Piece(patch.down, row=rank))
            rank += patch.rank
        start = starts[digest]
        up.append(Piece(patch.up, row=tops[patch.part], column=start))
        spans[patch.part] = PartSpan(start, start + patch.rank, patch.alpha_dtype, patch.alpha_shape)
    first = members[0]
    scales = {patch.scale for patch in members}
    alpha_forms = {(patch.alpha_dtype, patch.alpha_shape) for patch in members}
    is_plain = len(starts) == 1 and len(members) == len(shares) and len(alpha_forms) == 1
    joined = Joined(
        down=tuple(down),
        up=tuple(up),
        rank=rank,
        rows=at,
        scale=first.scale,
        # multiplied before it is divided: for the rank it had, it is the very alpha that it was
        alpha=(first.rank if first.alpha is None else first.alpha) * rank / first.rank,
        alpha_dtype=first.alpha_dtype,
        alpha_shape=first.alpha_shape,
        spans={} if is_plain else spans,
    )
    if len(scales) == 1:
        return joined
    return replace(_multiplied(joined, [patch.scale for patch in members], facts), mixes_scales=True)
