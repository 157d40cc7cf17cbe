"""What a person is told of their packs though nothing is wrong: warnings, less what they declared to be their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sq_pipeline.common.errors import MOST_TOLD, Fault
from sq_pipeline.common.strict_yaml import near_miss
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.pack_parts import PackFile
from sq_pipeline.content.records import Subject
from sq_pipeline.content.subject_files import SubjectFile

_SHOWN = 20  # keys of a file


@dataclass
class Noted:
    """The warnings of all files. `ignored`: keys, and names of files, that nobody is warned of."""

    ignored: frozenset[str]
    warnings: list[Fault] = field(default_factory=list[Fault])

    def note(self, *files: PackFile) -> None:
        """The warnings of these files, and one of all the keys of each that nobody reads."""
        for file in files:
            self.warn(*file.warnings)
            unread = [(key, place) for key, place in file.unread.items() if not self._is_ignored(file.file, key)]
            if unread:
                shown = ", ".join(f"`{key}`{f' ({place})' if place else ''}" for key, place in unread[:_SHOWN])
                more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
                problem = f"{len(unread)} {'key is' if len(unread) == 1 else 'keys are'} not read: {shown}{more}"
                hint = "remove what is a slip; list in `ignore_keys:` of sq.yaml what is for others"
                self.warnings.append(Fault(file.file, "", problem, hint))

    def warn(self, *warnings: Fault) -> None:
        """These warnings."""
        self.warnings += (warning for warning in warnings if not self._is_ignored(warning.file, warning.field))

    def _is_ignored(self, file: str, key: str) -> bool:
        return not self.ignored.isdisjoint((key or file, key.rpartition(".")[2], PurePosixPath(file).name))


def said_twice(files: Sequence[SubjectFile]) -> list[Fault]:
    """A warning for each subject that two files of one folder have, and not alike; the first file's counts."""
    seen: dict[str, Subject] = {}
    warnings: list[Fault] = []
    for subject in (subject for file in files for subject in file.subjects):
        first = seen.setdefault(subject.slug, subject)
        if first != subject:
            problem = f"{subject.name!r} is in {first.file} too ({first.where}), and says something else"
            warnings.append(Fault(subject.file, subject.where, problem, "that one is used; make them equal"))
    return warnings


def lost_backdrops(subjects: Mapping[Tier, tuple[Subject, ...]]) -> list[Fault]:
    """A warning for each backdrop that is no place of its world. Of very many the first are compared with places."""
    places = {place.slug for place in subjects.get("landscape", ())}
    warnings: list[Fault] = []
    for subject in (subject for found in subjects.values() for subject in found):
        if subject.backdrop and subject.backdrop not in places:
            guess = near_miss(subject.backdrop, places) if len(warnings) <= MOST_TOLD else None
            hint = f"did you mean {guess}?" if guess else "name the slug of a place"
            problem = f"{subject.backdrop!r} is no place of this world"
            warnings.append(Fault(subject.file, f"{subject.where}.backdrop_poi", problem, hint))
    return warnings
