"""The command-line reference, from the application itself. It does not depend on a terminal's width or colours."""

import enum
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import typer.main

from sq_pipeline.cli import app
from sq_pipeline.cli.terminal.examples import EXAMPLES
from sq_pipeline_tests.docs.blocks import table

_WORDS: dict[Any, str] = {int: "N", float: "X"}


def commands() -> dict[str, Any]:
    """Every command by its name, such as `adapter remap`."""
    return dict(_walk(typer.main.get_command(app), ""))


def _walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _walk(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def option_names(command: Any) -> set[str]:
    """The options of a command, as they are typed."""
    return {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    } | {"--help"}


def reference() -> str:
    """A section for each command: usage, help, arguments and options."""
    return "\n".join(_section(name, command) for name, command in commands().items())


def _section(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    usage = " ".join(("sq-pipeline", name, *map(_argument, arguments), "[OPTIONS]"))
    paragraphs = [" ".join(paragraph.split()) for paragraph in command.help.split("\n\n")]
    rows = [(f"`{_written(item)}`", _meaning(item)) for item in command.params if item.help or item not in arguments]
    parts = [f"### {name}", f"```\n{usage}\n```", *paragraphs]
    if examples := [f"# {why}\nsq-pipeline {name} {arguments}".rstrip() for arguments, why in EXAMPLES.get(name, ())]:
        parts.append("\n".join(("```", *examples, "```")))
    return "\n\n".join(parts) + "\n" + (f"\n{table(('option', 'meaning'), rows)}" if rows else "")


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _written(parameter: Any) -> str:
    """An option as it is typed: its names, and the word or the choices that follow."""
    if parameter.param_type_name == "argument":
        return _argument(parameter)
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return names
    choices = choices_of(parameter)
    word = parameter.metavar or _WORDS.get(_annotation(parameter), parameter.name.upper())
    return f"{names} {' or '.join(choices) if 0 < len(choices) <= 4 else word}"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    choices = choices_of(parameter)
    if len(choices) > 4:
        text += f" One of {', '.join(f'`{choice}`' for choice in choices)}."
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    elif parameter.default is not None and parameter.default is not False:
        text += f" Default: `{parameter.opts[0] if parameter.default is True else parameter.default}`."
    return text.strip()


def _annotation(parameter: Any) -> Any:
    """The type of one value."""
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) in (Union, types.UnionType, list):
        annotation = next(item for item in get_args(annotation) if item is not type(None))
    return annotation


def choices_of(parameter: Any) -> list[str]:
    """The values that a parameter takes, where these are all; else none."""
    annotation = _annotation(parameter)
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [str(choice.value) for choice in annotation]
    return []
