"""Where the parts of a module lie that was put together: written into a remapped file's metadata, read back from it.

With it the way back gives the very tensors that were there. A file from elsewhere has none, and stays whole.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from sq_pipeline.adapters.form import ALPHA_DTYPES, Matrix, Patch, parts_of

METADATA_KEY = "sq.parts"


@dataclass(frozen=True)
class PartSpan:
    """A part's rows of the down matrix, from `start` to before `end`, and how its own alpha was held."""

    start: int
    end: int
    alpha_dtype: str = "F32"
    alpha_shape: tuple[int, ...] = ()


Spans = Mapping[str, Mapping[str, PartSpan]]


def format_spans(spans: Spans) -> str:
    """The spans as one line of JSON: module → part → [start, end, alpha's dtype, alpha's shape]."""
    values = {
        module: {part: [s.start, s.end, s.alpha_dtype, list(s.alpha_shape)] for part, s in parts.items()}
        for module, parts in spans.items()
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def split_by_spans(patches: Mapping[str, Patch], metadata: Mapping[str, str]) -> Iterator[tuple[str, list[Patch]]]:
    """For each whole module that the metadata tells apart: its slot, and the parts it would be.

    What the metadata says is not trusted: what does not fit the file is passed over, and whether the rest of the up
    matrix is zero, as it must be, is for the caller to look at (`outside_of`).
    """
    try:
        values: Any = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return
    if not isinstance(values, dict):
        return
    for module, spans in cast("dict[str, Any]", values).items():
        patch = patches.get(module)
        if patch is None or patch.part or not isinstance(spans, dict):
            continue
        parts = _parts(patch, cast("dict[str, Any]", spans))
        if parts:
            yield module, parts


def _parts(patch: Patch, spans: Mapping[str, Any]) -> list[Patch]:
    shares = dict(parts_of(patch.module))
    total = sum(shares.values())
    if not spans or not spans.keys() <= shares.keys() or patch.up.rows % total:
        return []
    unit, at = patch.up.rows // total, 0
    parts: list[Patch] = []
    for name, share in shares.items():
        rows = (at, at + share * unit)
        at = rows[1]
        if name not in spans:
            continue
        span = _span(spans[name], patch.rank)
        if span is None:
            return []
        rank = span.end - span.start
        down = replace(patch.down, rows=rank, row_span=(span.start, span.end))
        up = replace(patch.up, rows=rows[1] - rows[0], columns=rank, row_span=rows, column_span=(span.start, span.end))
        alpha = None if patch.alpha is None else patch.alpha * rank / patch.rank
        parts.append(Patch(patch.module, name, down, up, alpha, patch.scale, span.alpha_dtype, span.alpha_shape))
    return parts


def _span(value: Any, rank: int) -> PartSpan | None:
    """What the metadata says of one part, where it can be true."""
    if not isinstance(value, list) or len(entries := cast("list[Any]", value)) != 4:
        return None
    start, end, dtype, shape = entries
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= rank:
        return None
    if dtype not in ALPHA_DTYPES or shape not in ([], [1], [1, 1]):
        return None
    return PartSpan(start, end, dtype, tuple(cast("list[int]", shape)))


def outside_of(parts: list[Patch], whole: Patch) -> Iterator[Matrix]:
    """The regions of the whole module's up matrix that no part covers: zero, if the parts are all there is."""
    shares = dict(parts_of(whole.module))
    unit, at = whole.up.rows // sum(shares.values()), 0
    spans = {patch.part: patch.up.column_span or (0, whole.rank) for patch in parts}
    for name, share in shares.items():
        rows = (at, at + share * unit)
        at = rows[1]
        start, end = spans.get(name, (0, 0))
        for columns in ((0, start), (end, whole.rank)):
            if columns[0] < columns[1]:
                size = columns[1] - columns[0]
                yield replace(whole.up, rows=share * unit, columns=size, row_span=rows, column_span=columns)
