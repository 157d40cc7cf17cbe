"""Canonical JSON and the hashes made of it. Here: how inputs become a fingerprint. Not here: which inputs.

A *fingerprint* names all inputs of an output; a *data version* names what the output holds for those
downstream. Both are written `sha256:<64 hex digits>`.
"""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from sq_pipeline.common.plain_file import insist_plain

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; the same text for equal values, on any machine.

    Accepts mappings with string keys, sequences, strings, booleans, None, integers and finite floats.
    A float with an integral value is written as that integer, so that `1` and `1.0` in a YAML are one.
    Raises TypeError or ValueError for anything else.
    """
    return json.dumps(
        _normalise(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _normalise(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a fingerprint cannot hold {value}")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        mapping = cast(Mapping[Any, Any], value)
        if bad := [key for key in mapping if not isinstance(key, str)]:
            raise TypeError(f"a fingerprint's mapping needs string keys, not {bad[0]!r}")
        return {key: _normalise(item) for key, item in mapping.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_normalise(item) for item in cast(Sequence[Any], value)]
    raise TypeError(f"a fingerprint cannot hold a {type(value).__name__}")


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """`sha256:…` of the canonical JSON of `inputs`."""
    return hash_bytes(canonical_json(inputs).encode())


def counted_fields(model: BaseModel, first: Collection[str], _prefix: str = "") -> dict[str, Any]:
    """The fields of a model that a fingerprint holds, as plain values: those named in `first`, and what is not off.

    `first` names the fields (dotted where models are nested) that were there when fingerprints were first made of this
    model; they always count, as they always did. Of any later field only a value that is not its default counts, so a
    new one makes nothing again until somebody sets it.
    """
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value, path = getattr(model, name), f"{_prefix}{name}"
        if path in first or value != field.get_default(call_default_factory=True):
            found[name] = _counted_value(value, first, f"{path}.")
    return found


def _counted_value(value: Any, first: Collection[str], prefix: str) -> Any:
    if isinstance(value, BaseModel):
        return counted_fields(value, first, prefix)
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str, Any], value)
        return {key: _counted_value(item, first, prefix) for key, item in mapping.items()}
    if isinstance(value, (list, tuple)):
        return [_counted_value(item, first, prefix) for item in cast(Sequence[Any], value)]
    return value


def hash_bytes(content: bytes | memoryview) -> str:
    """`sha256:…` of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def hash_file(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """`sha256:…` of a file's bytes, read in pieces of 1 MiB; `on_bytes` is told how many each piece has.

    Raises OSError for what is no plain file: a pipe would be waited for without an end.
    """
    digest = hashlib.sha256()
    insist_plain(path)
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
            if on_bytes is not None:
                on_bytes(len(piece))
    return f"sha256:{digest.hexdigest()}"


def begins_with(digest: str, digits: str) -> bool:
    """True where a person may mean this hash by these first digits, with `sha256:` before them or without."""
    return bool(digits) and short(digest, 64).startswith(short(digits, 64))


def short(hash_text: str, digits: int = 12) -> str:
    """The first digits of a hash, for people."""
    return hash_text.removeprefix("sha256:")[:digits]
