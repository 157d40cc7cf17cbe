"""Progress of a child process, passed on to its parent as lines of its log. Not here: who shows it (`progress`)."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.processes.progress import Progress

_MARK = "progress: "
_EACH_S = 0.5


class PassesOn:
    """Shows progress as lines for a parent to read, on stderr: the innermost work, a few times a second at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last_s = clock, float("-inf")

    def begin(self, progress: Progress) -> None:
        """It begins."""
        self._tell(progress)

    def change(self, progress: Progress) -> None:
        """It is further."""
        if self._clock() - self._last_s >= _EACH_S:
            self._tell(progress)

    def end(self, progress: Progress) -> None:
        """It has ended."""

    def _tell(self, progress: Progress) -> None:
        self._last_s = self._clock()
        told = {"what": progress.what, "done": progress.done, "total": progress.total}
        told |= {"note": progress.note, "left_s": progress.left_s}
        sys.stderr.write(f"{_MARK}{json.dumps(told)}\n")
        sys.stderr.flush()


@dataclass(frozen=True)
class Passed:
    """What a child has told last."""

    what: str
    done: int
    total: int
    note: str
    left_s: float | None


def is_passed(line: str) -> bool:
    """True for a line that tells of progress: nothing for people."""
    return line.startswith(_MARK)


class Reads:
    """Reads what a child passes on from its log while it is written."""

    def __init__(self, log: Path) -> None:
        self._log, self._at = log, 0

    def latest(self) -> Passed | None:
        """The last that was told since one asked; None for nothing new. Raises OSError.

        A line that something else wrote into is left out: the next one tells as much.
        """
        with self._log.open("rb") as file:
            file.seek(self._at)
            whole, _, _ = file.read().rpartition(b"\n")  # the last line may be half there
        self._at += len(whole) + bool(whole)
        lines = whole.decode(errors="replace").splitlines()
        told = [passed for line in lines if is_passed(line) and (passed := _read(line)) is not None]
        return told[-1] if told else None


def _read(line: str) -> Passed | None:
    try:
        return Passed(**json.loads(line.removeprefix(_MARK)))
    except (ValueError, TypeError):
        return None
