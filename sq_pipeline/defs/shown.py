"""What a record shows, as Dagster's metadata: numbers that it plots, tables, Markdown with pictures in it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, cast

from dagster import MetadataValue, TableColumn, TableMetadataValue, TableRecord, TableSchema

from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.shown import Shown, ShownText
from sq_pipeline.pipeline.store import Record


def metadata_of(pipeline: Context, record: Record, shows: Iterable[Shown], alt: str = "") -> dict[str, Any]:
    """The record's objects that `shows` names, in Markdown; what it has not is left out. `alt`: where none is said."""
    return {
        item.name: MetadataValue.md(_markdown(pipeline, record, item, alt))
        for item in shows
        if item.name in record.objects
    }


def inline_pictures(pipeline: Context, record: Record, shows: Iterable[Shown], alt: str = "") -> str:
    """The pictures alone, for a description, where the pages show them without being asked."""
    shown = (item for item in shows if not isinstance(item, ShownText) and item.name in record.objects)
    return "\n\n".join(_markdown(pipeline, record, item, alt) for item in shown)


def _markdown(pipeline: Context, record: Record, item: Shown, alt: str) -> str:
    stored = record.objects[item.name]
    if isinstance(item, ShownText):
        return pipeline.store.read_text(stored)
    return thumbnail_markdown(pipeline.store.read_bytes(stored), item.alt or alt, item.max_side_px)


def tags_of(**said: str) -> dict[str, str]:
    """Tags of an asset that pages can be filtered by, such as `sq/tier`; what Dagster takes for none is left out."""
    return {f"sq/{name}": value for name, value in said.items() if re.fullmatch(r"[A-Za-z0-9_.-]{1,63}", value)}


def table_of(rows: Sequence[Mapping[str, Any]]) -> TableMetadataValue:
    """A table of these rows; columns are all their keys, in the order in which they come."""
    names = dict.fromkeys(name for row in rows for name in row)
    types = {name: _column_type([row.get(name) for row in rows]) for name in names}
    records = [TableRecord({name: _in_table(row.get(name), types[name]) for name in names}) for row in rows]
    schema = TableSchema([TableColumn(name, types[name]) for name in names])
    return MetadataValue.table(records, schema)


def _column_type(values: Sequence[Any]) -> str:
    there = [value for value in values if value is not None]
    for kind, types in (("bool", (bool,)), ("int", (int,)), ("float", (int, float))):
        if there and all(isinstance(value, types) for value in there) and len(there) == len(values):
            return kind
    return "string"


def _in_table(value: Any, kind: str) -> str | int | float | bool:
    if kind == "string":
        return "" if value is None else _text_of(value)
    return float(value) if kind == "float" else value


def _text_of(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_text_of, value)) if _is_list(value) else str(value)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(cast(object, value), str)


def plain_metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a record: numbers that plot, tables of lists of mappings, texts; of a mapping an entry each.

    What is None is left out, and so is a number that is none: no page can draw it.
    """
    shown: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, Any]", value)
            shown |= plain_metadata({f"{name}.{key}": item for key, item in inner.items()})
        elif _is_list(value) and value and all(isinstance(item, Mapping) for item in value):
            shown[name] = table_of(value)
        elif _is_list(value):
            shown[name] = _text_of(value) or "none"
        else:
            shown[name] = value
    return shown
