"""The captions of a dataset: reading one as it is trained, and what it must say. Not here: pairing, counting tokens."""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.words import composed, find_word
from sq_pipeline.training.preflight.like_faults import LikeFault
from sq_pipeline.training.recipe import Recipe

_BOM = "\ufeff"
_SHOWN = 60


def read_caption(path: Path, file: str) -> str | Fault:
    """The caption without a byte order mark and the space around it, or what is wrong with its file."""
    try:
        text = path.read_text(encoding="utf-8").removeprefix(_BOM)
    except UnicodeDecodeError:
        return Fault(file, "", "is not UTF-8 text", "save it as UTF-8")
    except OSError as error:
        return Fault(file, "", f"cannot be read ({error.strerror})", "check the file")
    for position, character in enumerate(text):
        if _is_control(character):
            problem = f"holds the character U+{ord(character):04X} at position {position}"
            return LikeFault(file, "", problem, "remove it", "holds a control character")
    return text.strip()


def _is_control(character: str) -> bool:
    is_no_character = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF
    return (unicodedata.category(character) == "Cc" and character not in "\t\n\r") or is_no_character


def check_captions(captions: Iterable[tuple[str, str]], recipe: Recipe, trigger: str) -> Iterator[Fault]:
    """What is wrong with captions, each with its file."""
    for file, caption in captions:
        if recipe.kind == "style":
            if composed(caption) == composed(trigger) or (recipe.shows_sentences and has_own_words(caption, trigger)):
                continue
            fault = _no_sentence if recipe.shows_sentences else _no_bare_trigger
            yield fault(file, caption, trigger)
        elif not caption or composed(caption) == composed(trigger):
            yield Fault(file, "", "does not describe its picture", "write a sentence about it")
        elif composed(trigger) not in composed(caption):
            yield Fault(file, "", f"does not contain {trigger!r}", "name the subject by its trigger")
        elif find_word(trigger, caption) is None:
            problem = f"does not contain {trigger!r} as a word"
            yield Fault(file, "", problem, "name the subject by its trigger, with a space around it")


def has_own_words(caption: str, trigger: str) -> bool:
    """True for `trigger, words`: what a style's picture is called beside its trigger."""
    start = f"{composed(trigger)},"
    return composed(caption).startswith(start) and bool(composed(caption).removeprefix(start).strip())


def _no_sentence(file: str, caption: str, trigger: str) -> Fault:
    problem, hint = f"says {caption[:_SHOWN]!r}", f"write {trigger!r}, or “{trigger}, ” and what the picture shows"
    return LikeFault(file, "", problem, hint, "is no caption of a style")


def _no_bare_trigger(file: str, caption: str, trigger: str) -> Fault:
    hint = f"a style's caption is exactly {trigger!r}"
    if has_own_words(caption, trigger):
        hint += "; for described pictures write `caption_styles: [trigger, sentence]` in lora.yaml"
    elif find_word(trigger, caption) is not None:
        hint += "; for described pictures write `kind: subject` in lora.yaml"
    elif " " in caption:
        hint += f"; for described pictures write `kind: subject` in lora.yaml and {trigger!r} into each caption"
    return LikeFault(file, "", f"says {caption[:_SHOWN]!r}", hint, f"says something else than {trigger!r}")
