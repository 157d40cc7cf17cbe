"""A genre's manifest, `content/lora/<genre>/<genre>.yaml`: which adapters were promoted, from what, verified how."""

from pathlib import Path
from typing import Any

from sq_pipeline.common.archive import archive_edited
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import _NUMBER, _Dumper, dump_yaml, load_mapping

_HEAD = "# Written by sq-pipeline: this genre's promoted adapters, what they were made from, how they were verified.\n"


_Dumper.add_representer(str, _Dumper.represent_text)


_Dumper.add_implicit_resolver("tag:sq_pipeline,2025:number", _NUMBER, list("-+.0123456789"))


def read_manifest(data: DataDir, genre: str) -> dict[str, dict[str, Any]]:
    """The promoted adapters by name; empty where nothing was promoted. Raises ContentError."""
    path = data.manifest(genre)
    if not path.is_file():
        return {}
    file = data.relative(path)
    adapters = load_mapping(path, file).get("adapters", {})
    if not isinstance(adapters, dict) or not all(isinstance(entry, dict) for entry in adapters.values()):
        raise ContentError(Fault(file, "adapters", "is not a mapping of adapters", "restore the file, or move it away"))
    return adapters


def write_manifest(data: DataDir, genre: str, adapters: dict[str, dict[str, Any]]) -> Path | None:
    """Write the manifest atomically; equal content gives equal bytes.

    One that holds more than its entries, as comments, is kept in the archive first; returns where.
    """
    path = data.manifest(genre)
    kept = archive_edited(path, _text(read_manifest(data, genre)))
    write_text(path, _text(adapters))
    return kept


def _text(adapters: dict[str, dict[str, Any]]) -> str:
    return _HEAD + dump_yaml({"adapters": adapters})
