"""Tables of keys, from pydantic models: what is allowed and the default from the model, the meaning from its
description, or from the text that stands under each field. Not here: which models a pack's files have (`pack_keys`).
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sq_pipeline_tests.docs.blocks import table

Schema = dict[str, Any]


def model_table(model: type[BaseModel], *, is_flat: bool = False) -> str:
    """Every key of a file or an object; unless `is_flat`, with those of the mappings inside it."""
    rows = _rows(model, "", PydanticUndefined, is_flat=is_flat)
    return table(("key", "value", "default", "meaning"), list(rows))


@cache
def field_texts(model: type[BaseModel]) -> dict[str, str]:
    """Each field's description, or the text under each field of a class; raises ValueError where one has none."""
    described = {name: info.description for name, info in model.model_fields.items() if info.description}
    if described.keys() == model.model_fields.keys():
        return described
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            texts[statement.target.id] = " ".join(str(following.value.value).split())
    if missing := model.model_fields.keys() - texts.keys():
        raise ValueError(f"{model.__name__}: no text under {', '.join(sorted(missing))}")
    return texts


def _rows(model: type[BaseModel], prefix: str, given: Any, *, is_flat: bool = False) -> Iterator[tuple[str, ...]]:
    """`given`: what the default of the whole mapping says of its keys."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        key, default = f"{prefix}{name}", _default(field)
        if isinstance(given, BaseModel):
            default = getattr(given, name)
        inner, between = _inner_model(field.annotation)
        shown = "" if isinstance(default, BaseModel) else _as_yaml(default)
        yield f"`{key}`", _allowed(schema["properties"][name]), shown, field_texts(model)[name]
        if inner is not None and not is_flat:
            yield from _rows(inner, f"{key}{between}.", default)


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


def _inner_model(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The model of the mappings that a key holds, and what stands between it and their keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    between = {dict: ".…", tuple: "[]", list: "[]"}.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        inner, further = _inner_model(argument)
        if inner is not None:
            return inner, between + further
    return None, ""


def _as_yaml(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return ""
    if isinstance(value, str):
        return f"`{value}`" if value else ""
    return f"`{json.dumps(value)}`" if value not in ((), [], {}) else ""


def _allowed(schema: Schema) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(item) for item in schema["anyOf"] if item.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{item}`" for item in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return "a mapping"
    kind = schema.get("type", "anything")
    if kind == "array":
        return _list(schema)
    if kind == "object":
        names = schema.get("propertyNames", {}).get("enum", [])
        return f"a mapping by {', '.join(f'`{name}`' for name in names)}" if names else "a mapping"
    words = {"boolean": "`true`, `false`", "string": "a text", "integer": "a whole number", "number": "a number"}
    words["anything"] = "anything"
    return " ".join((words[kind], *filter(None, _bounds(schema))))


def _list(schema: Schema) -> str:
    if "prefixItems" in schema:
        first = schema["prefixItems"][0]
        return f"{len(schema['prefixItems'])} of: {_allowed(first)}"
    bounds = [f"at least {schema['minItems']}"] if schema.get("minItems") else []
    bounds += [f"at most {schema['maxItems']}"] if schema.get("maxItems") else []
    items = _allowed(schema["items"])
    for one, many in (("a text", "texts"), ("a mapping", "mappings"), ("number", "numbers")):
        items = items.replace(one, many)
    items = items.removeprefix("a ")
    return f"a list of {items}" + (f", {' and '.join(bounds)}" if bounds else "")


def _bounds(schema: Schema) -> Iterator[str]:
    low = [f"from {schema['minimum']}"] if "minimum" in schema else []
    low += [f"above {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
    high = [f"to {schema['maximum']}"] if "maximum" in schema else []
    high += [f"to below {schema['exclusiveMaximum']}"] if "exclusiveMaximum" in schema else []
    yield " ".join((*low, *high))
    if "multipleOf" in schema:
        yield f"that {schema['multipleOf']} divides"
    if "maxLength" in schema:
        yield f"of at most {schema['maxLength']} characters"
