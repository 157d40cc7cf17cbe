"""What is wrong with a YAML text, in an author's words: the line that it began in, and the edit that mends it.

Here: what people's editors, templates and tools leave in files. Not here: parsing (`strict_yaml`).
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
_LFS = "version https://git-lfs.github.com/spec/"
_ENTRY = re.compile(r"^\s*(?:- +)*(?P<key>[^\s:#'\"{\[][^:#]*): +(?P<value>\S.*?)\s*$")
_SPACES = {
    "\xa0": "a no-break space",
    "\u202f": "a narrow no-break space",
    "\u3000": "a wide space",
    "\u2007": "a figure space",
    "\u200b": "a zero-width space",
    "\ufeff": "a byte order mark",
}
_NO_BEGINNING = "%@`"


class Words(NamedTuple):
    """Where (`line 4`), what, and what to do."""

    where: str
    problem: str
    hint: str


def find_no_yaml(text: str) -> Words | None:
    """What a file is in place of YAML, as a tool left it there; None where it may be YAML."""
    if text.startswith(_LFS):
        return Words("", "is a Git LFS pointer, not the file", "run `git lfs pull`")
    if (found := _CONFLICT.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        return Words(f"line {line}", f"holds a merge conflict (line {line})", "keep one side, and remove the marks")
    return None


def explain_error(text: str, problem: str, line: int, column: int, quote_line: int | None) -> Words:
    """The parser's `problem` at a line and column, from 0; `quote_line`: where the quoted text began that it read."""
    lines = text.split("\n")
    if quote_line is not None:
        return _open_quote(quote_line)
    if "another document" in problem:
        return Words(f"line {line + 1}", "another document begins here", "write one file of them, without the `---`")
    for at in (line, line - 1):
        if 0 <= at < len(lines):
            for look in _LOOKS:
                if (found := look(lines[at], column if at == line else None)) is not None:
                    return Words(f"line {at + 1}", *found)
    for at in range(min(line, len(lines) - 1), -1, -1):
        if lines[at].replace('\\"', "").count('"') % 2:
            return _open_quote(at)
    return Words(f"line {line + 1}", problem, "correct the YAML")


def _open_quote(line: int) -> Words:
    return Words(f"line {line + 1}", "a quote is opened and not closed", "close it at the end of the text")


def _tab(line: str, _column: int | None) -> tuple[str, str] | None:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "begins with a tab", "use spaces"
    return None


def _strange_space(line: str, _column: int | None) -> tuple[str, str] | None:
    found = next((name for char, name in _SPACES.items() if char in line), None)
    return (f"holds {found}", "write a plain space there") if found else None


def _template(line: str, _column: int | None) -> tuple[str, str] | None:
    found = _ENTRY.match(line)
    value = found["value"] if found else line.strip().removeprefix("- ")
    if value.startswith(("{{", "{%", "<%", "${")):
        return f"a text begins with {value[:2]}", f"put it in quotes: {_quoted(found['key'] if found else '', value)}"
    return None


def _first_sign(line: str, column: int | None) -> tuple[str, str] | None:
    found = _ENTRY.match(line)
    value = found["value"] if found else line.strip().removeprefix("- ")
    sign = value[:1]
    is_there = column is None or line[column : column + 1] == sign
    if sign and sign in _NO_BEGINNING and is_there:
        return f"a text begins with {sign}", f"put it in quotes: {_quoted(found['key'] if found else '', value)}"
    return None


def _colon(line: str, column: int | None) -> tuple[str, str] | None:
    found = _ENTRY.match(line)
    if column is None or found is None or not re.search(r":(?:\s|$)", found["value"]):
        return None
    if found["value"][0] in "\"'{[":
        return None
    return "a colon in a text", f"put it in quotes: {_quoted(found['key'], found['value'])}"


def _after_quote(line: str, column: int | None) -> tuple[str, str] | None:
    found = _ENTRY.match(line)
    if column is None or found is None or not re.match(r"([\"']).*\1\s*\S", found["value"]):
        return None
    whole = found["value"].replace('"', "'")
    return "words stand after the closing quote", f"put all of it in quotes: {_quoted(found['key'], whole)}"


def _quoted(key: str, value: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{key}: {text}" if key else text


_LOOKS: tuple[Callable[[str, int | None], tuple[str, str] | None], ...] = (
    _tab,
    _strange_space,
    _template,
    _first_sign,
    _colon,
    _after_quote,
)
