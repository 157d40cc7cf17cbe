"""YAML that is not trusted: YAML 1.2's plain values, no repeated keys, no tags, aliases or dates, a size limit.

PyYAML reads `1e-4` as a text, `no` as False, and lets a repeated key win silently; none of that here.
Not here: what the content must say (the models of `content`, `training` and `settings`).
"""

import difflib
import json
import math
import re
import stat
import sys
from collections.abc import Collection, Hashable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sq_pipeline.common.errors import MOST_TOLD, ContentError, Fault, SqPipelineError, more_faults
from sq_pipeline.common.yaml_words import Words, explain_error, find_no_yaml

_MAX_BYTES = 32 * 2**20


_MAX_DEPTH = 40


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# where a tag or an anchor may begin; in prose `!` and `&` follow a word, or stand alone
_TAG_OR_ANCHOR = re.compile(r"(?:^|[\s\[\]{},:?-])(?:!|&\S)", re.MULTILINE)


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


class PlusInt(int):
    """A whole number that was written with a plus sign before it."""


def _construct_number(_loader: Any, node: Any) -> int | float:
    value = float(node.value)
    if not math.isfinite(value):
        problem = f"the number {node.value[:20]} is too large"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    if not node.tag.endswith(":int"):
        return value
    return PlusInt(node.value) if node.value.startswith("+") else int(node.value)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _construct_number)


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _construct_number)


def parse_yaml(text: str, file: str) -> Any:
    """The value of a YAML text; `file` names it in errors. Raises ContentError with the line. Empty text is None."""
    if no_yaml := find_no_yaml(text):
        raise ContentError(Fault(file, *no_yaml))
    try:
        # aliases can blow a small file up to gigabytes; looking for them costs a second pass, so only where one may be
        forbidden = _find_tag_or_alias(text, file) if _TAG_OR_ANCHOR.search(text) else None
        value = None if forbidden else yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise ContentError(Fault(file, *_explain(text, error))) from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        raise ContentError(Fault(file, f"line {line}", f"holds the character U+{code:04X}", "remove it")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else "cannot be parsed"
        raise ContentError(Fault(file, "", problem, "correct the YAML")) from None
    if forbidden:
        raise ContentError(forbidden)
    if _depth_exceeds(value, _MAX_DEPTH):
        raise ContentError(Fault(file, "", f"is nested deeper than {_MAX_DEPTH} levels", "flatten it"))
    return value


def _explain(text: str, error: yaml.MarkedYAMLError) -> Words:
    problem, mark = str(error.problem or error.context), error.problem_mark or error.context_mark
    if mark is None or isinstance(error, yaml.constructor.ConstructorError):  # in our own words already
        return Words(f"line {mark.line + 1}" if mark else "", problem, "correct the YAML")
    begun = error.context_mark if "quoted scalar" in str(error.context) else None
    return explain_error(text, problem, mark.line, mark.column, begun.line if begun else None)


def _find_tag_or_alias(text: str, file: str) -> Fault | None:
    for event in yaml.parse(text, Loader=_Base):
        line = f"line {event.start_mark.line + 1}" if event.start_mark else ""
        if isinstance(event, yaml.AliasEvent):
            return Fault(file, line, f"uses an alias (*{event.anchor})", "write the value out")
        if tag := getattr(event, "tag", None):
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            return Fault(file, line, f"uses a tag ({shown})", "write the plain value, a text in quotes")
    return None


def _depth_exceeds(value: Any, limit: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    if limit == 0:
        return True
    return any(_depth_exceeds(item, limit - 1) for item in (value.values() if isinstance(value, dict) else value))


def load_mapping(path: Path, file: str) -> dict[str, Any]:
    """A YAML file whose top level is a mapping (an empty file is an empty one). Raises ContentError."""
    return parse_mapping(read_text(path, file), file)


def read_text(path: Path, file: str) -> str:
    """What a YAML file holds; raises ContentError where it is not there, too large, or no text."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # a pipe would be read without an end
            raise ContentError(Fault(file, "", "is no plain file", "put the file itself there"))
        if found.st_size > _MAX_BYTES:
            raise ContentError(Fault(file, "", f"is larger than {_MAX_BYTES // 2**20} MiB", "split it"))
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ContentError(Fault(file, "", f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ContentError(Fault(file, "", "there is no such file", "add it, or correct the path")) from None
    except OSError as error:
        raise ContentError(Fault(file, "", f"cannot be read ({error.strerror})", "check the file")) from None


def parse_mapping(text: str, file: str) -> dict[str, Any]:
    """The mapping of a YAML text. Raises ContentError."""
    value = parse_yaml(text, file)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ContentError(Fault(file, "", f"its top level is {type_name(value)}, not a mapping", "write `key: value`"))
    return value


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """True for a mapping as `parse_yaml` gives it, whose keys are texts."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """True for a list as `parse_yaml` gives it."""
    return isinstance(value, list)


def type_name(value: Any) -> str:
    """A value's type in a YAML author's words."""
    names = {dict: "a mapping", list: "a list", tuple: "a list", str: "a text", bool: "true/false"}
    names |= {int: "a number", PlusInt: "a number", float: "a number"}
    return "empty" if value is None else names.get(type(value), type(value).__name__)


def as_yaml_text(text: str) -> str:
    """A text in double quotes, as it may be written into a YAML file."""
    return json.dumps(text, ensure_ascii=False)


def near_miss(key: str, known: Iterable[str]) -> str | None:
    """The known key that `key` looks like a slip of, if any."""
    return _near_miss(key, tuple(known))


@lru_cache(maxsize=4096)  # a history has the same keys a thousand times
def _near_miss(key: str, known: tuple[str, ...]) -> str | None:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.84)
    return close[0] if close else None


_MOST_COMPARED = 1000  # each takes half a millisecond


def warn_of_slips(
    keys: Iterable[str], known: Collection[str], file: str, where: str, given: Collection[str] = ()
) -> list[Fault]:
    """A warning for each key that is not known and looks like a slip of one that is; `where` the keys stand.

    `given`: those that say something. Of more than a thousand unknown keys the first thousand are compared.
    """
    unknown = islice((key for key in keys if key not in known), _MOST_COMPARED)
    slips = [(key, near_miss(key, known)) for key in unknown]
    prefix = f"{where}." if where else ""
    return [Fault(file, f"{prefix}{k}", "is ignored", _instead(guess, given)) for k, guess in slips if guess]


def _instead(guess: str, given: Collection[str]) -> str:
    return f"`{guess}` is there already; remove this one" if guess in given else f"did you mean `{guess}`?"


_Model = TypeVar("_Model", bound=BaseModel)


_SHAPES = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list"}  # by pydantic's error types


def validate(model: type[_Model], value: Any, file: str, error_type: type[SqPipelineError] = ContentError) -> _Model:
    """`value` as a pydantic model; raises `error_type` with one fault for each thing that is wrong.

    Strict: a text is no number, `no` is not False, true is not 1. The models hold tuples where a YAML has lists.
    """
    try:
        return model.model_validate(_with_tuples(value), strict=True)
    except ValidationError as error:
        raise error_type(faults_of(error, model, file, value)) from None


def wrong(problem: str, hint: str) -> PydanticCustomError:
    """What a validator raises to tell a fault in these words."""
    return PydanticCustomError("wrong", "{problem}", {"problem": problem, "correct": hint})


def faults_of(error: ValidationError, model: type[BaseModel], file: str, value: Any = None) -> list[Fault]:
    """A fault for each thing that is wrong with a `value` that was to be a `model`; as `errors.bounded` has them.

    Those that are only counted are not made: to compare 50,000 keys with ours takes half a minute.
    """
    items = error.errors(include_url=False)
    told = [_fault_of(item, model, file, value) for item in items[: MOST_TOLD + 1]]
    return told if len(items) <= len(told) else [*told[:MOST_TOLD], more_faults(file, len(items) - MOST_TOLD)]


def _fault_of(item: ErrorDetails, model: type[BaseModel], file: str, value: Any) -> Fault:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    problem, hint = item["msg"], "correct the value"
    if item["type"] == "wrong":
        hint = item.get("ctx", {})["correct"]
    elif item["type"] == "extra_forbidden":
        guess = near_miss(str(item["loc"][-1]), _fields_at(model, item["loc"][:-1]))
        problem, hint = "unknown key", _instead(guess, _keys_at(value, item["loc"][:-1])) if guess else "remove it"
    elif item["type"] == "missing":
        problem, hint = "is missing", "add it"
    elif item["type"] in _SHAPES:
        problem = f"is {type_name(item['input'])}, not {_SHAPES[item['type']]}"
    elif not isinstance(item["input"], (dict, tuple)):
        problem = f"{problem}, not {item['input']!r}"
    return Fault(file, field, problem, hint)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def _fields_at(model: type[BaseModel], location: Iterable[int | str]) -> Iterable[str]:
    """The fields of the model that stands at `location` inside `model`."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return model.model_fields


def _keys_at(value: Any, location: Iterable[int | str]) -> Collection[str]:
    """The keys of the mapping that stands at `location` in `value`."""
    for part in location:
        if isinstance(part, int):
            value = value[part] if is_list(value) else None
        else:
            value = value.get(part) if is_mapping(value) else None
    return value if is_mapping(value) else ()


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


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


def dump_line(value: Any) -> str:
    """A value as YAML in one line, its keys in their order, that `strict_yaml` reads back as it was."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=sys.maxsize
    )
    return text.removesuffix("\n").removesuffix("\n...")


def dump_yaml(value: dict[str, Any]) -> str:
    """A mapping as YAML that `strict_yaml` reads back as it was; equal mappings give equal texts."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=110)
