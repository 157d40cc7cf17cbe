"""How far long work is, and what is said of it on the way, told to whoever shows it; to nobody where nobody does.

`progress_of` is what the rest calls. Not here: bars and lines (`cli.terminal.bars`), whether a process makes headway at
all (`headway`), the losses of a training (`training.progress`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class Progress:
    """One piece of work: `done` of `total` steps, or bytes. `note`: what else is to be seen of it, in a few words.

    `left_s`: seconds to go, where the work itself knows; otherwise its pace so far tells.
    """

    what: str
    total: int
    done: int = 0
    is_bytes: bool = False
    note: str = ""
    left_s: float | None = None
    _shown: "ShowsProgress | None" = field(default=None, repr=False, compare=False)

    def advance(self, by: int = 1) -> None:
        """So much more is done."""
        self.reach(self.done + by)

    def reach(self, done: int, note: str | None = None, left_s: float | None = None) -> None:
        """So much is done in all."""
        self.done, self.left_s = done, left_s
        self.note = self.note if note is None else note
        if self._shown is not None:
            self._shown.change(self)


class ShowsProgress(Protocol):
    """Whoever shows it. Work may lie within work: what began last is what is done now."""

    def begin(self, progress: Progress) -> None:
        """It begins."""
        ...

    def change(self, progress: Progress) -> None:
        """It is further; called as often as there are steps."""
        ...

    def end(self, progress: Progress) -> None:
        """It has ended, in whatever way."""
        ...


_shown_by: ShowsProgress | None = None
_is_quiet = False


@contextmanager
def progress_of(what: str, total: int, done: int = 0, *, is_bytes: bool = False) -> Iterator[Progress]:
    """Work that the block does. `done`: what was done another time. A `total` that is not reached is no fault."""
    progress = Progress(what, total, done, is_bytes, _shown=_shown_by)
    shown = _shown_by
    if shown is None:
        yield progress
        return
    shown.begin(progress)
    try:
        yield progress
    finally:
        shown.end(progress)


@contextmanager
def shown_by(shows: ShowsProgress) -> Iterator[None]:
    """While the block runs, all progress of this process is shown so."""
    global _shown_by
    before, _shown_by = _shown_by, shows
    try:
        yield
    finally:
        _shown_by = before


@contextmanager
def quietly() -> Iterator[None]:
    """While the block runs, nothing is said of work under way: a person asked for results and errors alone."""
    global _is_quiet
    before, _is_quiet = _is_quiet, True
    try:
        yield
    finally:
        _is_quiet = before


def is_quiet() -> bool:
    """True within `quietly`."""
    return _is_quiet


def say(line: str) -> None:
    """A line on stderr about work under way: the terminal of a command, the log of a step in Dagster's pages."""
    if not _is_quiet:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
