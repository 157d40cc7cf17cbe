"""A genre's manifest, `content/lora/<genre>/<genre>.yaml`: which adapters were promoted, from what, verified how."""

import re
from typing import Any

import yaml

from sq_pipeline.core.errors import ContentError, Fault
from sq_pipeline.storage.atomic import write_text
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.strict_yaml import load_mapping

_HEAD = "# Written by sq-pipeline: this genre's promoted adapters, what they were made from, how they were verified.\n"


class _Dumper(yaml.SafeDumper):
    """Writes what `strict_yaml` reads back as it was: no aliases, and texts that look like its numbers in quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # PyYAML folds these three line breaks as if they were spaces, except in double quotes
        style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


# PyYAML writes `1e4` and `089` without quotes, as they are texts to YAML 1.1; to 1.2 they are numbers
_NUMBER = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
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
        raise ContentError(Fault(file, "adapters", "is not a mapping of adapters", "restore the file, or delete it"))
    return adapters


def write_manifest(data: DataDir, genre: str, adapters: dict[str, dict[str, Any]]) -> None:
    """Write the manifest atomically; equal content gives equal bytes."""
    write_text(data.manifest(genre), _HEAD + dump_yaml({"adapters": adapters}))


def dump_yaml(value: dict[str, Any]) -> str:
    """A mapping as YAML that `strict_yaml` reads back as it was; equal mappings give equal texts."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=110)
