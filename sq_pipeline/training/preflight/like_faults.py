"""Faults of many files that are alike, told in one line with their count and three of the names."""

from collections.abc import Iterable
from dataclasses import dataclass

from sq_pipeline.common.errors import Fault

_MOST_ALONE = 3
_NAMES = 3


@dataclass(frozen=True, order=True)
class LikeFault(Fault):
    """A fault of one file. `shared`: its problem in words that hold for all others of its kind too."""

    shared: str = ""


def group_faults(faults: Iterable[Fault]) -> list[Fault]:
    """The faults in their order; more than three of a kind in one folder are one."""
    groups: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        shared = fault.shared if isinstance(fault, LikeFault) and fault.shared else fault.problem
        groups.setdefault((fault.file.rpartition("/")[0], fault.field, shared, fault.hint), []).append(fault)
    found: list[Fault] = []
    for (folder, field, shared, hint), group in groups.items():
        if len(group) <= _MOST_ALONE:
            found += group
            continue
        is_one = len({fault.problem for fault in group}) == 1
        names = ", ".join(fault.file.rpartition("/")[2] for fault in group[:_NAMES])
        more = f" and {len(group) - _NAMES} more"
        each = group[0].problem if is_one else shared
        found.append(Fault(folder, field, f"{len(group)} files: each {each} ({names}{more})", hint))
    return found
