"""A command that runs for hours and never outlives who started it. Not here: which command, or what it says.

A small shell leads the command's process group and waits at a pipe that only this process holds open: however this
process ends (kill -9 too), the pipe closes, and the shell ends the group. Ctrl-C does not reach the group by itself.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.processes.deaths import describe_exit
from sq_pipeline.common.processes.headway import Watch, watched

_GRACE_S = 5  # between being asked to end, and being ended


_GUARD = f'read -r _; trap "" TERM; kill -TERM 0; sleep {_GRACE_S}; kill -KILL 0'


class CannotStart(OSError):
    """The command could not be started at all."""


class GuardedProcess:
    """A running command: the lines it prints, and how it ended."""

    def __init__(self, child: "subprocess.Popen[bytes]", log: IO[bytes] | None, log_path: Path | None) -> None:
        self._child, self._log, self._log_path = child, log, log_path

    def lines(self) -> Iterator[str]:
        """Each line of its standard output as it comes, also written to the log; raises StorageError if that fails.

        Only for a command that was run with `reads_lines`.
        """
        assert self._child.stdout is not None
        assert self._log is not None
        assert self._log_path is not None
        for raw in self._child.stdout:
            try:
                self._log.write(raw)
                self._log.flush()
            except OSError as error:
                raise disk_error(self._log_path, error) from error
            yield raw.decode(errors="replace").rstrip("\r\n")

    def ask_to_end(self) -> None:
        """Ask the command, and none of its children, to end; whether it does is not waited for."""
        self._child.terminate()

    def interrupt(self) -> None:
        """Ask the command, and none of its children, to end as Ctrl-C does."""
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return self._child.wait()

    def wait_for(self, timeout_s: float) -> int | None:
        """Its exit code, as `wait`; None: it still runs after that time."""
        with suppress(subprocess.TimeoutExpired):
            return self._child.wait(timeout_s)
        return None


@contextmanager
def run_guarded(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path | None,
    *,
    reads_lines: bool = False,
    watch: Watch | None = None,
) -> Iterator[GuardedProcess]:
    """Run a command in `folder`, its errors and its output in the file `log`, as long as the block lasts.

    Without a `log` it writes where this process does.
    With `reads_lines` the output comes through `GuardedProcess.lines`; otherwise the command writes it there itself, so
    that what it says stays in its order.
    With a `watch` it is told of where it is stopped, or says nothing; it is waited for all the same.
    What still runs when the block is left, in whatever way, is asked to end (SIGTERM), then ended (SIGKILL).
    Raises CannotStart where it cannot be started, StorageError where the log cannot be written.
    """
    with _open(log) as opened:
        guard = subprocess.Popen(["/bin/sh", "-c", _GUARD], stdin=subprocess.PIPE, process_group=0)
        child = None
        try:
            child = _start(command, folder, environment, opened, guard.pid, subprocess.PIPE if reads_lines else opened)
            with watched(watch, child.pid, log):
                yield GuardedProcess(child, opened, log)
        finally:
            _end(guard, child)


@contextmanager
def _open(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    try:
        log.unlink(missing_ok=True)
        opened = log.open("ab", buffering=0)
    except OSError as error:
        raise disk_error(log, error) from error
    with opened:
        yield opened


def _start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: IO[bytes] | None,
    group: int,
    output: IO[bytes] | int | None,
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            process_group=group,
        )
    except OSError as error:
        raise CannotStart(error.errno, error.strerror) from error


def _end(guard: "subprocess.Popen[bytes]", child: "subprocess.Popen[bytes] | None") -> None:
    """End the group. The guard is reaped last, so that its number stays the group's until then."""
    try:
        _signal(guard.pid, signal.SIGTERM)
        if child is not None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE_S)
    finally:
        _signal(guard.pid, signal.SIGKILL)
        if child is not None:
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        guard.wait()
        assert guard.stdin is not None
        guard.stdin.close()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS forbids it where all of a group has ended
        os.killpg(group, number)


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
        """The last line that says something, progress bars aside; for a signal, which one it was and often is."""
        if self.exit_code is not None and (by_signal := describe_exit(self.exit_code)):
            return by_signal
        said = next((line for line in reversed(self.last_lines) if line.strip() and not _BAR.search(line)), "")
        return said.strip() or f"exit code {self.exit_code} without a word"


def run_child(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    on_tick: Callable[[], bool],
    watch: Watch | None = None,
) -> ChildResult:
    """Run a program in `folder` until it ends, or `on_tick`, asked a few times a second and at the end, says True.

    All it says is in the file `log`; `watch` as in `run_guarded`. An exception of `on_tick`, and KeyboardInterrupt, end
    it and pass through. Raises CannotStart where it cannot be started, StorageError where the log cannot be opened.
    """
    exit_code: int | None = None
    with run_guarded(command, folder, environment, log, watch=watch) as process:
        while exit_code is None:
            exit_code = process.wait_for(_TICK_S)
            if on_tick() and exit_code is None:
                break
    return result_of(exit_code, log)


def result_of(exit_code: int | None, log: Path) -> ChildResult:
    """What a child that writes to `log` came to."""
    return ChildResult(exit_code, _tail(log))


def _tail(log: Path) -> tuple[str, ...]:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        said = file.read().decode(errors="replace")
    return tuple(line for line in re.split(r"[\r\n]", said) if line)
