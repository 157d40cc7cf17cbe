"""An adapter's metadata, as it can be shown: no control characters, no endless values, no paths unnoticed."""

import re
from collections.abc import Mapping

_SHOWN_CHARACTERS = 200
# an absolute path of two parts or more: POSIX, Windows, a network share, or a file: address. What precedes it must not
# make it part of an address (https://host/…) or of a word (flux-1-dev/lora)
_PATH = re.compile(
    r"""(?<![\w:/.\\~])(?:file://)?(?:/(?:[^\s/"'<>,;:\\\]\[{}()]+/)+[^\s/"'<>,;:\]\[{}()]*"""
    r"""|[A-Za-z]:[\\/]+[^\s"'<>,;|]+|\\\\[^\s\\"']+\\[^\s"',;]+|~/[^\s"',;]+)"""
)


def shown(text: str) -> str:
    """The text on one line: control characters as escapes, a long one cut with its length."""
    escaped = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    if len(escaped) <= _SHOWN_CHARACTERS:
        return escaped
    return f"{escaped[:_SHOWN_CHARACTERS]}… ({len(text):,} characters)"


def path_fault(metadata: Mapping[str, str]) -> str | None:
    """One line that names the paths in the metadata: they tell a person's name and disk to whoever gets the file."""
    found = [f"{shown(key)}: {shown(match[0])}" for key, text in metadata.items() if (match := _PATH.search(text))]
    found += [shown(match[0]) for key in metadata if (match := _PATH.search(key))]
    if not found:
        return None
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"metadata names a path of the machine it was made on ({', '.join(found[:3])}{more})"
