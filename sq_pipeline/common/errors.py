"""The error family. Here: the errors a user can cause and hint. Not here: bugs, which keep their traceback."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong: where it is, what it is, and what to do about it.

    `file` is relative to the data directory where it lies inside it; `field` is a dotted path such as
    `loras[0].scale`, or empty when the fault is the file's as a whole.
    """

    file: str
    field: str
    problem: str
    hint: str

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.field) if part)
        text = f"{place}: {self.problem}" if place else self.problem
        return f"{text}; {self.hint}" if self.hint else text


MOST_TOLD = 100  # faults of one thing
_MOST_OF_FILE = 1000


def bounded(faults: Iterable[Fault], most: int = MOST_TOLD) -> tuple[Fault, ...]:
    """The faults, at most `most` of them and one that counts the rest: nobody reads 50,000."""
    found = tuple(faults)
    if len(found) <= most + 1:
        return found
    rest = found[most:]
    file = rest[0].file if len({fault.file for fault in rest}) == 1 else ""
    return (*found[:most], more_faults(file, len(rest)))


def more_faults(file: str, count: int) -> Fault:
    """What is told of faults that are only counted."""
    return Fault(file, "", f"{count} more faults", "correct these first, then look again")


class SqPipelineError(Exception):
    """Base of the family; carries the faults that were found (`most` of them), and prints one line for each."""

    most: ClassVar[int] = MOST_TOLD

    def __init__(self, faults: Iterable[Fault] | Fault | str):
        if isinstance(faults, str):
            faults = (Fault("", "", faults, ""),)
        elif isinstance(faults, Fault):
            faults = (faults,)
        self.faults: tuple[Fault, ...] = bounded(faults, self.most)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    # Exceptions cross process borders in Dagster; keep the faults when they do.
    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.faults,))


class ContentError(SqPipelineError, ValueError):
    """A genre pack, a manifest or `sq.yaml` says something that cannot be used."""


class SelectionError(SqPipelineError, LookupError):
    """A genre, world, tier or adapter was named that does not exist."""


class DatasetError(SqPipelineError, ValueError):
    """A training dataset fails the preflight. Like `faults` of many files are one; `every` has each for itself.

    `warnings`: what else is worth a look.
    """

    def __init__(
        self, faults: Iterable[Fault] | Fault | str, every: Iterable[Fault] = (), warnings: Iterable[Fault] = ()
    ):
        super().__init__(faults)
        self.every: tuple[Fault, ...] = tuple(every) or self.faults
        self.warnings: tuple[Fault, ...] = tuple(warnings)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.faults, self.every, self.warnings))


class KeymapError(SqPipelineError, ValueError):
    """A keymap is not well formed, or does not fit what it is applied to. Each module is named: they are hundreds."""

    most = _MOST_OF_FILE


class AdapterError(SqPipelineError, ValueError):
    """An adapter file cannot be read, remapped or applied. Each module is named: they are hundreds."""

    most = _MOST_OF_FILE


class VerificationError(SqPipelineError, ValueError):
    """An adapter is used that failed its verification, or has none."""


class BaseModelError(SqPipelineError, RuntimeError):
    """A base model is unknown, not on this machine, or not what it says it is."""


class TrainingError(SqPipelineError, RuntimeError):
    """Training could not finish."""


class DivergedError(TrainingError):
    """A training's losses make no sense any more. With the same inputs it would diverge again."""


class RenderError(SqPipelineError, RuntimeError):
    """A picture could not be made as asked."""


class NoMatchError(RenderError):
    """An adapter has no key that the loader knows: it would change nothing.

    `keys_matched`: of its stack's adapters, those before it and itself (0); empty where nobody told.
    """

    def __init__(self, faults: Iterable[Fault] | Fault | str, keys_matched: tuple[int, ...] = ()):
        super().__init__(faults)
        self.keys_matched = keys_matched

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.faults, self.keys_matched))


class StorageError(SqPipelineError, OSError):
    """The disk refused: full, read-only, missing."""


class TelemetryError(SqPipelineError, ValueError):
    """The environment asks for traces in a way that cannot be met."""


class PictureError(SqPipelineError, ValueError):
    """A picture file cannot be read, or does not say what made it."""
