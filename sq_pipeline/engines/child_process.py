"""Waiting for a trainer of somebody else: a look around now and then, and how it ended.

Not here: running it so that it never outlives this process (`guarded_process`), what its files mean.
"""

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.engines.guarded_process import run_guarded

_TICK_S = 0.25
_TAIL_BYTES = 1 << 15
_BAR = re.compile(r"\d+%\|.*\|")  # a progress bar of tqdm


@dataclass(frozen=True)
class ChildResult:
    """`exit_code` is negative for a signal, as in `subprocess`, and None where this side had seen enough.

    `last_lines`: what it said last, between line ends and carriage returns.
    """

    exit_code: int | None
    last_lines: tuple[str, ...]

    @property
    def last_words(self) -> str:
        """The last line that says something, progress bars aside; for a signal, which one it was."""
        if self.exit_code is not None and self.exit_code < 0:
            name = signal.Signals(-self.exit_code).name
            return f"killed by {name}" + (" (was there too little memory?)" if name == "SIGKILL" else "")
        said = next((line for line in reversed(self.last_lines) if line.strip() and not _BAR.search(line)), "")
        return said.strip() or f"exit code {self.exit_code} without a word"


def run_child(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, on_tick: Callable[[], bool]
) -> ChildResult:
    """Run a program in `folder` until it ends, or `on_tick`, asked a few times a second and at the end, says True.

    All it says is in the file `log`. An exception of `on_tick`, and KeyboardInterrupt, end it and pass through. Raises
    CannotStart where it cannot be started, StorageError where the log cannot be opened.
    """
    exit_code: int | None = None
    with run_guarded(command, folder, environment, log) as process:
        while exit_code is None:
            exit_code = process.wait_for(_TICK_S)
            if on_tick() and exit_code is None:
                break
    return ChildResult(exit_code, _tail(log))


def _tail(log: Path) -> tuple[str, ...]:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        said = file.read().decode(errors="replace")
    return tuple(line for line in re.split(r"[\r\n]", said) if line)
