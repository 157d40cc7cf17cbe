"""Words within texts, as tokenizers tell them apart. Not here: changes of a text (`text`)."""

import re
import unicodedata

_LETTER = r"[^\W_]"  # tokenizers end a word at an underscore
# Thai to Khmer, kana, Han: written without spaces between words
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def find_word(word: str, text: str) -> int | None:
    """Where the word ends that the text (composed) holds for itself, not within another one; None: it does not."""
    word, text = composed(word), composed(text)
    before = rf"(?<!{_LETTER})" if _ends_at_a_space(word[0]) else ""
    after = rf"(?!{_LETTER})" if _ends_at_a_space(word[-1]) else ""
    found = re.search(before + re.escape(word) + after, text)
    return found.end() if found else None


def composed(text: str) -> str:
    """The text with its accents composed (NFC), as one system writes `é` otherwise than another."""
    return unicodedata.normalize("NFC", text)


def _ends_at_a_space(character: str) -> bool:
    """Whether words of such characters are told apart by spaces."""
    return re.match(_LETTER, character) is not None and not _WITHOUT_SPACES.match(character)
