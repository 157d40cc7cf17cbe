"""Hints carried out, by what they say: the edit of a YAML file, of a text's line, of a folder. Not here: commands.

A way is found by the words of a hint alone; what these leave to a person is the case's `answer`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.strict_yaml import dump_yaml, parse_yaml

Answer = Any


@dataclass
class Edit:
    """Where a fault is, and what a person would say that is asked."""

    root: Path
    fault: Fault
    answer: Answer = None

    @property
    def file(self) -> Path:
        """The file that the fault names."""
        return self.root / self.fault.file

    # -- of YAML -----------------------------------------------------------------------------------------------------

    def change(self, edit: Callable[[Any, Any], Any], field: str | None = None, file: Path | None = None) -> None:
        """Let `edit(parent, key)` change what holds the field."""
        path = file or self.file
        text = path.read_text("utf-8") if path.exists() else ""
        tree = parse_yaml(text, "") or {}
        parts = _parts(self.fault.field if field is None else field)
        holder: dict[str, Any] = {"": tree}
        parent: Any = holder
        key: Any = ""
        for part in parts:
            parent, key = parent[key], part
        edit(parent, key)
        path.write_text(dump_yaml(holder[""]), "utf-8")

    def set(self, value: Any) -> None:
        """Another value there."""
        self.change(lambda parent, key: parent.__setitem__(key, value))

    def delete(self) -> None:
        """The key, or the entry, taken out."""
        self.change(lambda parent, key: parent.pop(key))

    def rename(self, name: str) -> None:
        """Another key for the value."""
        self.change(lambda parent, key: parent.__setitem__(name, parent.pop(key)))

    def set_beside(self, line: str) -> None:
        """`key: value` among the keys beside this one."""
        given = parse_yaml(line, "")
        parts = _parts(self.fault.field)
        self.change(
            lambda parent, key: (parent[key] if isinstance(key, int) else parent).update(given), None if parts else ""
        )

    def set_in(self, file: Path, line: str) -> None:
        """`key: value` at the top of a file of ours."""
        self.change(lambda parent, key: parent[key].update(parse_yaml(line, "")), "", file)

    # -- of lines ----------------------------------------------------------------------------------------------------

    def line(self, edit: Callable[[str], str]) -> None:
        """Change the line that the fault names."""
        lines = self.file.read_text("utf-8").split("\n")
        at = int(self.fault.field.removeprefix("line ")) - 1
        lines[at] = edit(lines[at])
        self.file.write_text("\n".join(lines), "utf-8")

    def text(self, edit: Callable[[str], str]) -> None:
        """Change the whole text."""
        self.file.write_text(edit(self.file.read_text("utf-8")), "utf-8")

    def say(self, answer: Answer) -> None:
        """What a person does: a value there, or another text of a file, or a function of the data directory."""
        if callable(answer):
            answer(self.root)
        elif isinstance(answer, Mapping) and all("/" in name or "." in name for name in answer):
            for name, text in answer.items():
                write(self.root, name, text)
        else:
            self.set(answer)


def _parts(field: str) -> list[str | int]:
    found = re.findall(r"\[(\d+)\]|([^.\[\]]+)", field)
    return [int(number) if number else name for number, name in found]


def write(root: Path, name: str, text: str | bytes | Callable[[Path], object] | None) -> None:
    """A file of a data directory, below the packs where its name does not say otherwise.

    None takes it away, a function makes it.
    """
    path = (
        root / name
        if name.startswith(("sq.yaml", "content/", "keymaps/", "verify_prompts/"))
        else root / "content/genre_packs" / name
    )
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(text):
        text(path)
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)


def _quote(edit: Edit, found: re.Match[str]) -> None:
    """`put it in quotes: key: "…"`: the line from the key on."""
    wanted = found[1]
    key = re.match(r"[^:\"]+: ", wanted)
    edit.line(
        lambda line: line[: line.index(key[0])] + wanted if key else re.sub(r"(- +).*", lambda m: m[1] + wanted, line)
    )


def _as_written(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _guess(edit: Edit, found: re.Match[str]) -> None:
    """`did you mean x?` of a value, which may be one of a list."""
    edit.change(lambda parent, key: parent.__setitem__(key, [found[1]] if isinstance(parent[key], list) else found[1]))


_WAYS: list[tuple[str, Callable[[Edit, re.Match[str]], object]]] = [
    (r"put (?:it|all of it) in quotes: (.*)", _quote),
    (r"put it in quotes", lambda e, _: e.change(lambda p, k: p.__setitem__(k, _as_written(p[k])))),
    (r"did you mean `(\w+)`\?", lambda e, m: e.rename(m[1])),
    (r"did you mean (\w+)\?", _guess),
    (r"write it as `(\w+)`", lambda e, m: e.rename(m[1])),
    (r"(?:.*; )?remove (?:it|this one)|remove it, or .*", lambda e, _: e.delete()),
    (r"leave (?:it|the key) out(?:, or .*)?|write it, or (?:leave the key out|remove it)", lambda e, _: e.delete()),
    (r"write e\.g\. (.*)", lambda e, m: e.set(parse_yaml(m[1], ""))),
    (r"write it as one: (.*)", lambda e, m: e.set(parse_yaml(m[1], ""))),
    (r"write `(\w+: [^…]+)`", lambda e, m: e.set_beside(m[1])),
    (r".*write `(\w+: [^…]+)` in sq\.yaml", lambda e, m: e.set_in(e.root / "sq.yaml", m[1])),
    (r".*(?:put|set|write) `(\w+: [^…]+)`(?: \(.*\))? in lora\.yaml(?: and .*)?",
     lambda e, m: e.set_in(_recipe(e), m[1])),
    (r"(?:use|leave it out, or use) `(trainer: [\w-]+)`", lambda e, m: e.set_in(_recipe(e), m[1])),
    (r"use spaces", lambda e, _: e.line(lambda line: line.replace("\t", "  "))),
    (r"write a plain space there",
     lambda e, _: e.line(lambda line: re.sub("[\xa0\u202f\u3000\u2007\u200b\ufeff]", " ", line))),
    (r"close it at the end of the text", lambda e, _: e.line(lambda line: line + '"')),
    (r"save it as UTF-8", lambda e, _: e.file.write_text(e.file.read_bytes().decode("latin-1"), "utf-8")),
    (r"rename it to (\S+)", lambda e, m: e.file.rename(e.file.with_name(m[1]))),
    (r"make one file of both", lambda e, _: e.file.unlink()),
    (r"end it in \{slug\}\.png|add \{slug\}|write it as .* is|it may hold .*|write only .*|take another folder",
     lambda e, _: e.set(e.answer)),
]  # fmt: skip


def _recipe(edit: Edit) -> Path:
    folder = edit.file if edit.file.is_dir() else edit.file.parent
    return folder / "lora.yaml"


def carry_out(root: Path, fault: Fault, answer: Answer = None) -> None:
    """Do what the fault's hint says. Raises LookupError for a hint that says nothing a machine understands."""
    edit = Edit(root, fault, answer)
    if answer is not None:
        edit.say(answer)
        return
    for pattern, way in _WAYS:
        if (found := re.fullmatch(pattern, fault.hint, re.DOTALL)) is not None:
            way(edit, found)
            return
    raise LookupError(fault.hint)
