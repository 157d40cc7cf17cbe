"""Names that people give, as others take them: parts of Dagster's keys, and file names. Any text has one of each.

A name that is one already stays as it is, so nothing moves that had a name before; any other is transliterated as far
as it can be, and ends in digits of a hash that tell it from all others. Not here: what is named.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping

from anyascii import anyascii

from sq_pipeline.common.fingerprints import hash_bytes, short

_DIGITS = 8
_KEY_MAX = 60  # characters: Dagster makes names of files of two such parts and more
_SLUG_MAX = 110  # bytes of a file name, with its suffix far below what any file system takes
_PLAIN_KEY = re.compile(rf"[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*(?<!_[0-9a-f]{{{_DIGITS}}})")
# Scripts of which a transliteration tells names apart; of others many names sound alike, or lose their vowels.
_ALPHABETS = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN"}


def key_parts(names: Collection[str]) -> Mapping[str, str]:
    """A part of Dagster's keys for each of these names, which stand beside each other: `[A-Za-z0-9_]+`, at most 60
    characters, no two alike even where case is folded.
    """
    folded = Counter(name.casefold() for name in names)
    return {name: _key_part(name, is_alone=folded[name.casefold()] == 1) for name in names}


def _key_part(name: str, *, is_alone: bool) -> str:
    if _PLAIN_KEY.fullmatch(name) and len(name) <= _KEY_MAX and (is_alone or name == name.casefold()):
        return name
    return _with_tail(_words(anyascii(name)), name, _KEY_MAX)


def make_slug(name: str, noun: str = "place") -> str:
    """A file name's stem for a subject: ASCII letters and digits in lower case, everything else one underscore.

    At most 110 characters; a `noun` of what it is where no letter can be read. Empty for an empty name.
    """
    name = unicodedata.normalize("NFC", name)
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    slug = _words(plain.replace("'", ""))
    letters = [char for char in name if char.isalpha()]
    lost = [char for char in letters if not unicodedata.normalize("NFKD", char)[0].isascii() and char != "ß"]
    if slug and 2 * len(lost) <= len(letters):  # as it always was
        return slug if len(slug) <= _SLUG_MAX else _with_tail(slug, name, _SLUG_MAX)
    if not name.strip():
        return ""
    signs = (anyascii(char) if unicodedata.category(char)[0] in "LMN" else char for char in name)
    read = _words("".join(signs).replace("'", ""))
    if read and all(_script(char) in _ALPHABETS for char in lost) and len(read) <= _SLUG_MAX:
        return read
    return _with_tail(read or noun, name, _SLUG_MAX)


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _script(char: str) -> str:
    return unicodedata.name(char, "").partition(" ")[0]


def _with_tail(text: str, name: str, most: int) -> str:
    tail = short(hash_bytes(name.encode("utf-8", "surrogatepass")), _DIGITS)
    return "_".join(filter(None, (text[: most - _DIGITS - 1].strip("_"), tail)))
