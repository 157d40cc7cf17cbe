"""Parts of a pack's files as pydantic models, where what is right in a part is kept beside what is wrong in it.

Real packs carry many keys that are not ours: they are ignored, but a near miss of ours is warned about. A key without
a value is one that is not there. Not here: the keys themselves (`style_file`, `subject_files`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.strict_yaml import faults_of, is_mapping, load_mapping, type_name, warn_of_slips, wrong


def of_type(kinds: type | tuple[type, ...], problem: str, hint: str) -> BeforeValidator:
    """Refuses a value of another type (true is no number); `problem` may tell its `{type}`, and `{value!r}`."""

    def check(value: object) -> object:
        if isinstance(value, kinds) and not isinstance(value, bool):
            return value
        raise wrong(problem.format(type=type_name(value), value=value), hint)

    return BeforeValidator(check)


class PackPart(BaseModel):
    """A mapping of a pack's file. Validating one never raises: what is wrong is in its `faults`, and left out.

    `model_fields_set` has the keys with a value, wrong ones too. A part that lacks a key that must be there has the
    others as they are written: look with `getattr`.
    `must_be`: what to write where no mapping stands. `only_ours`: what to do about any other key, where none may be.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    must_be: ClassVar[str] = "write `key: value`"
    only_ours: ClassVar[str | None] = None
    # each with its field from here, none of the parts inside; a part that has some has lists of its own before these
    faults: ClassVar[Sequence[Fault]] = ()
    warnings: ClassVar[Sequence[Fault]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_is_right(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not is_mapping(value):
            part = cls.model_construct()
            vars(part)["faults"] = [Fault("", "", f"is {type_name(value)}, not a mapping", cls.must_be)]
            return part
        known = cls.__pydantic_fields__
        given = {key: item for key, item in value.items() if item is not None and key in known}
        try:
            part = handler(given)
        except ValidationError as error:
            right = _without_wrong(given, error)
            try:
                part = handler(right)
            except ValidationError:  # a key that must be there is not
                part = cls.model_construct(**right)
            part.model_fields_set.update(given)
            vars(part)["faults"] = faults_of(error, cls, "")
        if len(given) < len(value):
            others = [key for key in value if key not in known]
            if cls.only_ours is None:
                vars(part)["warnings"] = warn_of_slips(others, known, "", "")
            else:
                unknown = [Fault("", key, "unknown key", cls.only_ours) for key in others]
                vars(part)["faults"] = [*part.faults, *unknown]
        return part


def _without_wrong(given: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """The keys that are right; of a list of texts, those that are wrong are empty, so that the others keep their place.

    Lists of parts have no wrong items: a part keeps what is wrong with it.
    """
    right = dict(given)
    for item in error.errors(include_url=False, include_input=False):
        match item["loc"]:
            case (str(key), int(index)):
                right[key] = [*right[key][:index], "", *right[key][index + 1 :]]
            case (str(key), *_):
                right.pop(key, None)
            case _:
                pass
    return right


Part = TypeVar("Part", bound=PackPart)


@dataclass
class PackFile:
    """What one file says: `faults` and `warnings` of all its parts, each at its place in the file.

    `is_unread`: it is there, and cannot be read at all.
    """

    file: str
    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[Fault] = field(default_factory=list[Fault])
    is_unread: bool = False

    def fault(self, where: str, problem: str, hint: str) -> None:
        """Note a fault of this file."""
        self.faults.append(Fault(self.file, where, problem, hint))

    def take(self, part: PackPart, where: str) -> None:
        """Note the faults and warnings of a part that stands at `where`."""
        for noted, notes in ((part.faults, self.faults), (part.warnings, self.warnings)):
            for note in noted:
                place = ".".join(filter(None, (where, note.field)))
                notes.append(replace(note, file=self.file, field=place))

    def read(self, model: type[Part], path: Path, context: object = None) -> Part:
        """The file as a `model`; one that is not there, or that cannot be read, says nothing."""
        if not os.path.lexists(path):
            return model()
        try:
            part = model.model_validate(load_mapping(path, self.file), context=context)
        except ContentError as error:
            self.faults += error.faults
            self.is_unread = True
            return model()
        self.take(part, "")
        return part
