"""Commands that a text names, taken as they stand: found in it, split as a shell does, parsed with the real parser."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from sq_pipeline_tests.docs.command_line import choices_of, commands

# what only a person knows, and what stands for it
PLACEHOLDERS: Mapping[str, str] = {
    "DIR": "somewhere", "FILE": "a.safetensors", "OUT": "b.safetensors", "FOLDER": "pictures", "WHO": "Mary", "N": "8",
    "ALPHA": "8", "DIALECT": "kohya", "…": "x",
}  # fmt: skip
_BEGINNING = "`sq-pipeline "


def commands_in(text: str) -> Iterator[list[str]]:
    """The arguments of each command of ours that a text names in backticks; a backtick in quotes does not end one."""
    at = text.find(_BEGINNING)
    while at >= 0:
        start = end = at + len(_BEGINNING)
        quote = ""
        while end < len(text) and (quote or text[end] != "`"):
            if text[end] in "'\"":
                quote = "" if quote == text[end] else quote or text[end]
            end += 1
        yield shlex.split(text[start:end])
        at = text.find(_BEGINNING, end)


def split_name(words: list[str]) -> tuple[str, list[str]]:
    """A command's name, of one word or two, and its arguments. Raises KeyError for a command that there is not."""
    known = commands()
    for count in (2, 1):
        if (name := " ".join(words[:count])) in known:
            return name, words[count:]
    raise KeyError(" ".join(words[:2]))


def parse(words: list[str]) -> dict[str, Any]:
    """What the real command line understands of a command, whose placeholders are filled. Raises click's errors."""
    name, arguments = split_name(words)
    with commands()[name].make_context(name, [PLACEHOLDERS.get(word, word) for word in arguments]) as context:
        return context.params


def parse_option(of: str, words: list[str]) -> dict[str, Any]:
    """The same, of options alone: what else must be given is given."""
    needed: list[str] = []
    for parameter in commands()[of].params:
        if not parameter.required or set(parameter.opts) & set(words):
            continue
        value = next(iter(choices_of(parameter)), "x")
        needed += [value] if parameter.param_type_name == "argument" else [parameter.opts[0], value]
    return parse([*of.split(), *needed, *words])


def options_in(text: str) -> list[str]:
    """The names of options that a text has outside of whole commands, such as `--missing-alpha`."""
    for words in list(commands_in(text)):
        text = text.replace(" ".join(words), "")
    return re.findall(r"(?<![\w-])--[a-z][a-z-]*", re.sub(r"`(?:sq-pipeline|hf|git) [^`]*`", "", text))
