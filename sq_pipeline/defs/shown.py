"""What a record shows, as Dagster's metadata."""

from collections.abc import Iterable
from typing import Any

from dagster import MetadataValue

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


def _markdown(pipeline: Context, record: Record, item: Shown, alt: str) -> str:
    stored = record.objects[item.name]
    if isinstance(item, ShownText):
        return pipeline.store.read_text(stored)
    return thumbnail_markdown(pipeline.store.read_bytes(stored), item.alt or alt, item.max_side_px)
