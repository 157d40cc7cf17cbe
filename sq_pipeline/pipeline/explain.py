"""What changed, in words: between the inputs an output was made from and those it would be made from now.

Not here: which inputs an output has (`pipeline.inputs`), and how a change within a text is shown (`common.text`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, TypeGuard, cast

from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.common.text import brief_both, diff_words, printable

_MOST_LINES = 6  # of one input
_MOST_REASONS = 2  # of the first step of a chain
_NAME = 100  # characters shown of a name
_REASON = 200  # … of a reason within a chain

_BECAUSE = "because "  # how a chain begins

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_ABSENT = object()  # no value: None is one

# What the positions in the items of a list input mean (see `pipeline.inputs`).
_FIELDS = {"adapters": ("adapter", "scale"), "stack": ("adapter", "scale"), "pictures": ("place", "picture")}


def explain_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each input that differs, old → new; for each changed entry where an input holds several.

    No line where the fingerprints are equal. A line is at most 800 characters, without breaks.
    """
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        changes = list(_explain(name, old.get(name, _ABSENT), new.get(name, _ABSENT)))
        lines += changes[:_MOST_LINES]
        if len(changes) > _MOST_LINES:
            lines.append(_line(name, f"and {len(changes) - _MOST_LINES} more"))
    return lines


def describe_chain(chain: Sequence[str], reasons: Sequence[str]) -> str:
    """`because west/worlds/old/stack ← … ← west/loras/land/mlx_adapter ← training_dataset (files.3.png: added)`.

    `chain` goes from the nearest asset to the first one, and `reasons` are that one's.
    """
    shown: list[str] = []
    folder = None
    for asset in chain:
        parent, _, name = asset.rpartition("/")
        shown.append(name if parent == folder else asset)
        folder = parent
    why = [_shorten(reason) for reason in reasons[:_MOST_REASONS]]
    if len(reasons) > _MOST_REASONS:
        why.append(f"and {len(reasons) - _MOST_REASONS} more")
    return f"{_BECAUSE}{' ← '.join(shown)} ({'; '.join(why)})"


def is_chain(reason: str) -> bool:
    """True for what `describe_chain` says."""
    return reason.startswith(_BECAUSE)


def _shorten(reason: str) -> str:
    if len(reason) <= _REASON:
        return reason
    cut = reason[:_REASON]
    return f"{cut[: cut.rindex('`')] if cut.count('`') % 2 else cut}…"  # half a command is none


def _explain(name: str, old: Any, new: Any) -> Iterator[str]:
    if _is_same(old, new):
        return
    if _is_mapping(old) and _is_mapping(new):
        for key in sorted(old.keys() | new.keys()):
            yield from _explain_entry(f"{name}.{key}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif _is_list(old) and _is_list(new) and any(_is_list(item) or _is_mapping(item) for item in (*old, *new)):
        yield from _explain_items(name, old, new)
    else:
        words = diff_words(old, new) if isinstance(old, str) and isinstance(new, str) else None
        yield _line(name, words or _old_to_new(old, new))


def _explain_entry(name: str, old: Any, new: Any) -> Iterator[str]:
    """An entry of a mapping or a list, which may have come or gone. The digits of a hash would tell nothing more."""
    if old is _ABSENT or new is _ABSENT:
        value, word = (new, "added") if old is _ABSENT else (old, "removed")
        yield _line(name, word if _is_hash(value) else f"{word}: {brief_both(_text_of(value), '')[0]}")
    elif _is_hash(old) and _is_hash(new):
        if old != new:
            yield _line(name, "changed")
    else:
        yield from _explain(name, old, new)


def _explain_items(name: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[str]:
    """Items are paired where they stand between equal ones."""
    before, after = ([canonical_json(item) for item in items] for items in (old, new))
    if sorted(before) == sorted(after):
        yield _line(name, "in another order")
        return
    for tag, start, end, new_start, new_end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for was, now in zip_longest(range(start, end), range(new_start, new_end)):
            place = f"{name}[{was if now is None else now}]"
            one, other = _ABSENT if was is None else old[was], _ABSENT if now is None else new[now]
            fields = _FIELDS.get(name, ())
            if _is_list(one) and _is_list(other) and len(one) == len(other) == len(fields):
                for field, *values in zip(fields, one, other, strict=True):
                    yield from _explain(f"{place} {field}", *values)
            else:
                yield from _explain_entry(place, one, other)


def _old_to_new(old: Any, new: Any) -> str:
    before, after = _text_of(old), _text_of(new)
    if before == after:  # such as 1 and "1", or two lists that differ further in
        before, after = repr(old), repr(new)
    return " → ".join(brief_both(before, after))


def _line(name: str, text: str) -> str:
    return f"{brief_both(printable(name), '', _NAME)[0]}: {text}"


def _text_of(value: Any) -> str:
    if value is _ABSENT:
        return "(not there)"
    if isinstance(value, str):
        return printable(_HASH.sub(lambda found: found[0][:19], value)) or "(empty)"
    if _is_mapping(value):
        return "1 entry" if len(value) == 1 else f"{len(value)} entries"
    return f"[{', '.join(map(_text_of, value))}]" if _is_list(value) else str(value)


def _is_same(old: Any, new: Any) -> bool:
    if old is _ABSENT or new is _ABSENT:
        return old is new
    return canonical_json(old) == canonical_json(new)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(cast(object, value), str)
