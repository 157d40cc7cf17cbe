"""Parts of a pack's files as pydantic models, where what is right in a part is kept beside what is wrong in it.

Real packs carry many keys that are not ours: they are not read, and a file's are told once. A key without a value is
one that is not there. Not here: the keys themselves (`style_file`, `subject_files`).
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
from sq_pipeline.common.strict_yaml import (
    as_yaml_text,
    faults_of,
    is_list,
    is_mapping,
    parse_yaml,
    read_text,
    type_name,
    warn_of_slips,
    wrong,
)


def of_type(kinds: type | tuple[type, ...], problem: str, hint: str) -> BeforeValidator:
    """Refuses a value of another type; true is a number to Python, and none here.

    `problem` may tell its `{type}`, and `{value!r}`.
    """

    def check(value: object) -> object:
        if isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool)):
            return value
        raise wrong(problem.format(type=type_name(value), value=value), hint)

    return BeforeValidator(check)


def as_text(value: object) -> str:
    """What to do about a value that should be a text, as it can be done to it."""
    if is_list(value) and value and all(isinstance(part, str) for part in value):
        return f"write it as one: {as_yaml_text(', '.join(value))}"
    return "write a text there" if is_list(value) or is_mapping(value) else "put it in quotes"


class PackPart(BaseModel):
    """A mapping of a pack's file. Validating one never raises: what is wrong is in its `faults`, and left out.

    `model_fields_set` has the keys with a value, wrong ones too. A part that lacks a key that must be there has the
    others as they are written: look with `getattr`.
    `must_be`: what to write where no mapping stands. `only_ours`: what to do about any other key, where none may be.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    must_be: ClassVar[str] = "write `key: value`"
    list_of: ClassVar[str | None] = None  # the key that is meant where a file's top level is a list
    only_ours: ClassVar[str | None] = None
    # each with its field from here, none of the parts inside; a part that has some has lists of its own before these
    faults: ClassVar[Sequence[Fault]] = ()
    warnings: ClassVar[Sequence[Fault]] = ()
    unread: ClassVar[Sequence[str]] = ()

    @classmethod
    def unread_keys(cls, value: Mapping[str, Any]) -> list[str]:
        """The keys of a mapping that say something nobody reads, those inside of one as `key.inner`."""
        return [key for key, item in value.items() if key not in cls.__pydantic_fields__ and item is not None]

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
        if cls.only_ours is not None:
            unknown = [Fault("", key, "unknown key", cls.only_ours) for key in value if key not in known]
            vars(part)["faults"] = [*part.faults, *unknown]
        elif unread := cls.unread_keys(value):
            slips = warn_of_slips(unread, known, "", "", given)
            slipped = {slip.field for slip in slips}
            vars(part)["warnings"] = slips
            vars(part)["unread"] = [key for key in unread if key not in slipped]
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

    `is_unread`: it is there, and cannot be read. `unread`: its keys that nobody reads, each with the first place where
    it stands.
    """

    file: str
    faults: list[Fault] = field(default_factory=list[Fault])
    warnings: list[Fault] = field(default_factory=list[Fault])
    is_unread: bool = False
    unread: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def says_nothing(self) -> bool:
        """True where its faults leave nothing of it."""
        return self.is_unread

    def fault(self, where: str, problem: str, hint: str) -> None:
        """Note a fault of this file."""
        self.faults.append(Fault(self.file, where, problem, hint))

    def take(self, part: PackPart, where: str) -> None:
        """Note the faults and warnings of a part that stands at `where`."""
        for noted, notes in ((part.faults, self.faults), (part.warnings, self.warnings)):
            for note in noted:
                place = ".".join(filter(None, (where, note.field)))
                notes.append(replace(note, file=self.file, field=place))
        for key in part.unread:
            self.unread.setdefault(key, where)

    def read(self, model: type[Part], path: Path, context: object = None) -> Part:
        """The file as a `model`; one that is not there, or that cannot be read, says nothing."""
        if not os.path.lexists(path):
            return model()
        try:
            value = parse_yaml(read_text(path, self.file), self.file)
            part = model.model_validate(self._mapping(model, value), context=context)
        except ContentError as error:
            self.faults += error.faults
            self.is_unread = True
            return model()
        self.take(part, "")
        return part

    def _mapping(self, model: type[PackPart], value: object) -> object:
        if value is None:
            return {}
        if is_list(value) and model.list_of is not None:
            return {model.list_of: value}
        if not is_mapping(value):
            problem = f"its top level is {type_name(value)}, not a mapping"
            raise ContentError(Fault(self.file, "", problem, model.must_be))
        return value
