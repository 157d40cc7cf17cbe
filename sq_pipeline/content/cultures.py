"""Cultures that people of a world share: files `cultures/<stem>.yaml` of a world or its genre, named by their stems."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sq_pipeline.common.errors import MOST_TOLD, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import near_miss, type_name, wrong
from sq_pipeline.content.pack_parts import PackFile, PackPart, as_text
from sq_pipeline.content.records import Subject

FOLDER = "cultures"
_STEM = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_SUFFIXES = (".yaml", ".yml")


def _read_text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise wrong(f"is {type_name(value)}: {value!r}, not a text", as_text(value))


class CultureKeys(PackPart):
    """`cultures/<stem>.yaml`."""

    name: Annotated[str, BeforeValidator(_read_text)] = Field(
        default="", description="What the culture is called; no part of a prompt."
    )
    aesthetic: Annotated[str, BeforeValidator(_read_text)] = Field(
        default="", description="What stands in the prompt for `culture: <stem>`."
    )


@dataclass
class CultureFile(PackFile):
    """What one culture's file says."""

    aesthetic: str = ""


def read_cultures(data: DataDir, folder: Path) -> dict[str, CultureFile]:
    """The cultures of a genre's or a world's folder, by stem in lower case."""
    found: dict[str, CultureFile] = {}
    root = folder / FOLDER
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            file = CultureFile(data.relative(path))
            file.aesthetic = file.read(CultureKeys, path).aesthetic.strip()
            found[path.stem.lower()] = file
    return found


def faults_of_cultures(files: Mapping[str, CultureFile]) -> tuple[Fault, ...]:
    """What is wrong in the files: worth a warning, since a prompt is without its culture then."""
    return tuple(fault for file in files.values() for fault in file.faults)


@dataclass(frozen=True)
class Cultures:
    """Those that a world has, its own before its genre's."""

    folder: str
    files: Mapping[str, CultureFile]
    warnings: list[Fault] = field(default_factory=list[Fault])

    def apply(self, subjects: Iterable[Subject]) -> tuple[Subject, ...]:
        """The subjects with what their cultures' files say; notes those that there is no file of."""
        return tuple(self._apply(subject) for subject in subjects)

    def _apply(self, subject: Subject) -> Subject:
        stem = subject.culture_stem
        if not stem:
            return subject
        file = self.files.get(stem.lower())
        if file is not None and file.aesthetic:
            said = file.aesthetic
        elif file is None and "_" not in stem:
            said = stem  # a word of the prompt's
        else:
            said = ""
            where = f"{subject.where}.culture"
            if file is not None and file.faults:
                return replace(subject, culture_stem="")  # told once, of the file
            if file is not None:
                problem, hint = f"{file.file} says no `aesthetic`; it is left out of the prompt", "write one there"
            else:
                known = sorted(self.files)
                guess = near_miss(stem.lower(), known) if len(self.warnings) <= MOST_TOLD else None
                problem = f"{stem!r} is no file in {self.folder}/; it is left out of the prompt"
                hint = f"did you mean {guess}?" if guess else f"there are {', '.join(known) or 'none'}"
            self.warnings.append(Fault(subject.file, where, problem, hint))
        return replace(subject, culture=", ".join(filter(None, (said, subject.culture))), culture_stem="")


def stem_of(culture: str) -> str:
    """The text, where it may be a culture file's stem; else an empty one."""
    return culture if _STEM.fullmatch(culture) else ""
