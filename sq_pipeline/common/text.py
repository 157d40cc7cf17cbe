"""A change of a text in one line, for a terminal: `west, a view of [Mill → a burnt mill], wide`.

Here: words and characters. Not here: what else an input may be, and its name (`explain`).
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

_VALUE = 160  # characters shown of a value
_CHANGED = 120  # … of a side of a change within a text
_AROUND = 40  # … of unchanged words on each side of a change
_LINE = 320  # … of a text's changes, before the rest is only counted

_OPENING, _CLOSING = "(\"'", ",.;:!?)\"'"

_CHANGE = re.compile(r"\[(?:[+-] [^\[\]]+|[^\[\]]+ → [^\[\]]+)\]")
_MORE = re.compile(r" … and \d+ more$")


class _Token(NamedTuple):
    """A word, or the punctuation before or after one (`is_glued`: without a space before it)."""

    text: str
    is_glued: bool


class _Stretch(NamedTuple):
    """Tokens of both texts, in one place; `is_same` when they are equal."""

    old: list[_Token]
    new: list[_Token]
    is_same: bool


def printable(text: str) -> str:
    """The text in one line: what a terminal would not show as a character is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def brief_both(old: str, new: str, most: int = _VALUE) -> tuple[str, str]:
    """At most `most` characters of each text, from a little before the place where they part."""
    same = next((place for place, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
    if same is None:
        same = min(len(old), len(new))
    return _cut(old, same, most), _cut(new, same, most)


def _cut(text: str, same: int, most: int) -> str:
    if len(text) <= most:
        return text
    start = max(0, min(same - _AROUND, len(text) - most))
    end = start + most
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def diff_words(old: str, new: str) -> str | None:
    """The new text with its changes in brackets, `[old → new]`, `[+ new]`, `[- old]`, and long unchanged parts cut.

    None where this would say nothing: no words in common, or a difference in spaces only.
    """
    stretches = _stretches(_tokens(old), _tokens(new))
    to_show = sum(not stretch.is_same for stretch in stretches)
    if not to_show or to_show == len(stretches):
        return None
    line = ""
    for index, stretch in enumerate(stretches):
        if to_show and len(line) > _LINE:
            return f"{line} … and {to_show} more"
        is_glued = not line or (stretch.new or stretch.old)[0].is_glued
        if stretch.is_same:
            shown = _shorten(_join(stretch.new), index == 0, index == len(stretches) - 1)
        else:
            shown = f"[{_show_change(_join(stretch.old), _join(stretch.new))}]"
            to_show -= 1
        line += shown if is_glued else f" {shown}"
    return line


def drop_context(line: str) -> str:
    """Only the name and the bracketed changes of a `name: word diff`; any other line as it is.

    So that one change made to many texts reads the same for all of them.
    """
    name, _, text = line.partition(": ")
    changes = _CHANGE.findall(text)
    is_whole = text.count("[") == text.count("]") == len(changes) and not _MORE.search(text)
    return f"{name}: … {' … '.join(changes)} …" if changes and is_whole else line


def counted(count: int, noun: str) -> str:
    """A number with its noun, as in `1 picture`, `2 pictures`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def gist(reason: str) -> str:
    """The reason without what is of one place only: the words around a change, and the seed, which is its own."""
    return "seed: changed" if reason.startswith("seed: ") else drop_context(reason)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    for word in text.split():
        body = word.lstrip(_OPENING)
        core = body.rstrip(_CLOSING)
        parts = [part for part in (word[: len(word) - len(body)], core, body[len(core) :]) if part]
        tokens += [_Token(part, place > 0) for place, part in enumerate(parts)]
    return tokens


def _stretches(old: list[_Token], new: list[_Token]) -> list[_Stretch]:
    """What is equal and what is not, in turns. A single equal token between two changes is taken into them."""
    matcher = SequenceMatcher(None, [token.text for token in old], [token.text for token in new], autojunk=False)
    stretches: list[_Stretch] = []
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        is_bridge = end - start == 1 and min(start, new_start) > 0 and end < len(old) and new_end < len(new)
        is_same = tag == "equal" and not is_bridge
        if stretches and not is_same and not stretches[-1].is_same:
            stretches[-1].old.extend(old[start:end])
            stretches[-1].new.extend(new[new_start:new_end])
        else:
            stretches.append(_Stretch(old[start:end], new[new_start:new_end], is_same))
    return stretches


def _join(tokens: Sequence[_Token]) -> str:
    return "".join(printable(token.text) if token.is_glued else f" {printable(token.text)}" for token in tokens).strip()


def _show_change(old: str, new: str) -> str:
    if not old or not new:
        return f"{'+' if new else '-'} {_cut(old or new, 0, _CHANGED)}"
    return " → ".join(brief_both(old, new, _CHANGED))


def _shorten(text: str, is_first: bool, is_last: bool) -> str:
    """Whole words next to the changes; nothing of what lies further off."""
    if len(text) <= _AROUND * (1 if is_first or is_last else 2):
        return text
    head = text[:_AROUND].rpartition(" ")[0] or text[:_AROUND]
    tail = text[-_AROUND:].partition(" ")[2] or text[-_AROUND:]
    return f"{'' if is_first else head + ' '}…{'' if is_last else ' ' + tail}"
