"""Why something is made, in few words: of one step, and of all that one run is for. Worded as `plan` has it.

Not here: what changed (`pipeline.explain`).
"""

from collections.abc import Iterable

from sq_pipeline.common.text import gist
from sq_pipeline.pipeline.context import Step

NOTHING_MADE = "nothing was made: it is already what its inputs say"
_MOST_LINES = 8  # of one run
_MOST_NAMES = 4  # of one line
_LINE = 400  # characters


def why(step: Step) -> str:
    """The reasons of one step, in at most 400 characters; why nothing is to be made, for one that is fresh."""
    return _cut("; ".join(step.reasons) or NOTHING_MADE)


def why_all(steps: Iterable[Step]) -> list[str]:
    """A line for each reason that steps have in common, with the names of their assets; at most nine lines.

    Of a place its slug is its name, so its prompt and its picture, made for the same reason, are one.
    """
    groups: dict[str, dict[str, str]] = {}  # by reason without the words around a change: names, with their own reason
    for step in steps:
        name = step.asset.partition(":")[2] or step.asset.rpartition("/")[2]
        groups.setdefault("; ".join(map(gist, step.reasons)) or NOTHING_MADE, {}).setdefault(name, why(step))
    lines = [_line(common, list(names), list(names.values())) for common, names in groups.items()]
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]


def _line(common: str, names: list[str], reasons: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    listed = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{listed}: {reasons[0] if len(set(reasons)) == 1 else _cut(common)}"


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[:_LINE]}…"
