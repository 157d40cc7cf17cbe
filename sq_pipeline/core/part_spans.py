"""Where the parts of a module lie that was put together: written into a remapped file's metadata, read back from it.

With it the way back gives the very tensors that were there. A file from elsewhere has none, and stays whole.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from sq_pipeline.core.adapter_form import Matrix, Patch, parts_of

METADATA_KEY = "sq.parts"

Spans = Mapping[str, Mapping[str, tuple[int, int]]]


def format_spans(spans: Spans) -> str:
    """The spans as one line of JSON: module → part → first row of its down matrix, and the row after its last."""
    return json.dumps(spans, sort_keys=True, separators=(",", ":"))


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
        span: Any = spans[name]
        if not isinstance(span, list) or [type(end) for end in cast("list[Any]", span)] != [int, int]:
            return []
        start, end = cast("list[int]", span)
        if not 0 <= start < end <= patch.rank:
            return []
        rank = end - start
        down = replace(patch.down, rows=rank, row_span=(start, end))
        up = replace(patch.up, rows=rows[1] - rows[0], columns=rank, row_span=rows, column_span=(start, end))
        is_same = rank == patch.rank
        alpha = None if patch.alpha is None else patch.scale * rank
        parts.append(
            replace(patch, part=name, down=down, up=up, alpha=alpha, alpha_key=patch.alpha_key if is_same else None)
        )
    return parts


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
