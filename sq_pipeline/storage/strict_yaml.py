"""YAML that is not trusted: YAML 1.2's plain values, no repeated keys, no tags, anchors or dates, a size limit.

PyYAML reads `1e-4` as a text, `no` as False, and lets a repeated key win silently; none of that here.
Not here: what the content must say (the models of `core`).
"""

import difflib
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sq_pipeline.core.errors import ContentError, Fault, SqPipelineError

_MAX_BYTES = 32 * 2**20
_MAX_DEPTH = 40
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Base):
    """libyaml's safe loader with YAML 1.2's core schema and without repeated keys or tags."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, Any] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {key_node.value!r} is not a text; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"the key {key!r} is there twice (first in line {seen[key]})"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
_StrictLoader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
_resolve("int", r"^[-+]?[0-9]+$", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_StrictLoader.add_constructor("tag:yaml.org,2002:int", lambda _loader, node: int(node.value))
_StrictLoader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: float(node.value))


def parse_yaml(text: str, file: str) -> Any:
    """The value of a YAML text; `file` names it in errors. Raises ContentError with the line. Empty text is None."""
    try:
        # aliases can blow a small file up to gigabytes; looking for them costs a second pass, so only where one may be
        if "&" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Base)):
            raise ContentError(Fault(file, "", "uses an alias (*name)", "write the value out"))
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}" if mark else ""
        raise ContentError(Fault(file, line, str(error.problem or error.context), "mend the YAML")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else "cannot be parsed"
        raise ContentError(Fault(file, "", problem, "mend the YAML")) from None
    if _depth_exceeds(value, _MAX_DEPTH):
        raise ContentError(Fault(file, "", f"is nested deeper than {_MAX_DEPTH} levels", "flatten it"))
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    if limit == 0:
        return True
    return any(_depth_exceeds(item, limit - 1) for item in (value.values() if isinstance(value, dict) else value))


def load_mapping(path: Path, file: str) -> dict[str, Any]:
    """A YAML file whose top level is a mapping (an empty file is an empty one). Raises ContentError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ContentError(Fault(file, "", f"is larger than {_MAX_BYTES // 2**20} MiB", "split it"))
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ContentError(Fault(file, "", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ContentError(Fault(file, "", "there is no such file", "add it, or mend the path")) from None
    except OSError as error:
        raise ContentError(Fault(file, "", f"cannot be read ({error.strerror})", "check the file")) from None
    value = parse_yaml(text, file)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ContentError(Fault(file, "", f"its top level is {type_name(value)}, not a mapping", "write `key: value`"))
    return value


def type_name(value: Any) -> str:
    """A value's type in a YAML author's words."""
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "true/false", int: "a number", float: "a number"}
    return "empty" if value is None else names.get(type(value), type(value).__name__)


def near_miss(key: str, known: Iterable[str]) -> str | None:
    """The known key that `key` looks like a slip of, if any."""
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.84)
    return close[0] if close else None


_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], value: Any, file: str, error_type: type[SqPipelineError] = ContentError) -> _Model:
    """`value` as a pydantic model; raises `error_type` with one fault for each thing that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults: list[Fault] = []
        for item in error.errors(include_url=False):
            field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
            problem, mend = item["msg"], "mend the value"
            if item["type"] == "extra_forbidden":
                guess = near_miss(str(item["loc"][-1]), model.model_fields)
                problem, mend = "unknown key", f"did you mean `{guess}`?" if guess else "remove it"
            elif item["type"] == "missing":
                problem, mend = "is missing", "add it"
            elif not isinstance(item["input"], (dict, list)):
                problem = f"{problem}, not {item['input']!r}"
            faults.append(Fault(file, field, problem, mend))
        raise error_type(faults) from None
