"""How a process was ended by a signal, in words: a child by its exit code, this one by a watcher that outlives it.

A process that aborts, or is killed, says nothing any more. So a shell waits at a pipe that only this process holds
open, to which Python's `faulthandler` writes as it dies; what it makes of that goes to stderr, and into a note that the
next start reads. Not here: ending children (`guarded_process`).
"""

import faulthandler
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sq_pipeline.common.errors import DivergedError

# what each often is, where it is met in trainings and renderings
_OFTEN = {
    "SIGABRT": "native code gave up: a Metal error, such as macOS's GPU watchdog, or memory that ran out",
    "SIGBUS": "memory that ran out, a full disk, or a file that was cut short while it was read",
    "SIGFPE": "a fault in native code",
    "SIGHUP": "its terminal was closed",
    "SIGILL": "an instruction that this processor does not have: a package for another one",
    "SIGINT": "Ctrl-C",
    "SIGKILL": "memory ran out, or somebody ended it",
    "SIGPIPE": "who read what it said was gone",
    "SIGSEGV": "a fault in native code",
    "SIGSYS": "a sandbox that forbids a system call",
    "SIGTERM": "somebody asked it to end, or the system is going down",
    "SIGTRAP": "a fault in native code",
    "SIGXCPU": "a limit on computing time",
    "SIGXFSZ": "a limit on the size of files",
}
# the first words of `faulthandler` for each
_FATAL = {
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Floating*": "SIGFPE",
    "Illegal instruction": "SIGILL",
    "Segmentation fault": "SIGSEGV",
}
_SHELL_OFFSET = 128  # a shell, and what is run by one, ends so much above the signal of its own child
_GO_ON = "what was finished is kept, and the next run goes on from it"

Say = Callable[[str], None]


def describe_signal(number: int) -> str:
    """The signal's name, and what it often is."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    return f"{name} (often: {_OFTEN[name]})" if name in _OFTEN else name


def describe_exit(code: int) -> str | None:
    """Which signal an exit code of `subprocess` stands for, also through a shell; None for one that stands for none."""
    if code < 0:
        return f"ended by {describe_signal(-code)}"
    number = code - _SHELL_OFFSET
    if number in {*signal.Signals} - {signal.SIGINT}:
        return f"ended with {code}, as by {describe_signal(number)}"
    return None


_FATAL_CASES = "".join(
    f"'Fatal Python error: '{words}) how={shlex.quote('by ' + describe_signal(signal.Signals[name]))} ;;\n"
    for words, name in ((shlex.quote(words).replace("*'", "'*"), name) for words, name in _FATAL.items())
)
_SILENT = f"without a word, as by {describe_signal(signal.SIGKILL)}"
_ASKED = f"by {describe_signal(signal.SIGTERM)}"
_WATCHER = f"""
how={shlex.quote(_SILENT)}
next={shlex.quote(_GO_ON)}
while IFS= read -r line; do case $line in
bye) exit ;;
'next '*) next=${{line#next }} ;;
{_FATAL_CASES}'Stack '*) [ "$how" != {shlex.quote(_SILENT)} ] || how={shlex.quote(_ASKED)} ;;
esac; done
line="$1 was ended $how; $next"
[ -z "$2" ] || [ ! -e "$2" ] || printf '%s\\n' "$line" > "$2"
printf '%s%s\\n' "$3" "$line" >&2
"""


_pipe: int | None = None
_stderr: int | None = None


@contextmanager
def told_on(descriptor: int) -> Iterator[None]:
    """While the block runs, deaths are told there: stderr leads through this process, and would end with it."""
    global _stderr
    before, _stderr = _stderr, descriptor
    try:
        yield
    finally:
        _stderr = before


@contextmanager
def told_of_death(who: str, note: Path | None = None, say: Say = lambda _line: None) -> Iterator[None]:
    """While the block runs, an end of this process by a signal is told: on stderr, and in the file `note`.

    `say` is told first how the last one ended that had the same note; `who` is the process, to people. A block inside
    another one adds nothing. One that ends in order leaves nothing.
    """
    global _pipe
    if _pipe is not None:
        yield
        return
    if note is not None:
        _take_note(who, note, say)
    ours, _pipe = os.pipe()
    was_enabled = faulthandler.is_enabled()
    # in a session of its own: Ctrl-C and whoever ends our group leave it
    command = ["/bin/sh", "-c", _WATCHER, "watcher", f"{who} (process {os.getpid()})", str(note or "")]
    command.append("" if _stderr is None else "\n")  # a bar may stand there
    try:
        watcher = subprocess.Popen(
            command, stdin=ours, stdout=subprocess.DEVNULL, stderr=_stderr, start_new_session=True
        )
    except OSError:
        os.close(_pipe)
        _pipe = None
        yield  # without one, the work is as good
        return
    finally:
        os.close(ours)
    faulthandler.enable(_pipe, all_threads=False)
    if is_asked := signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        faulthandler.register(signal.SIGTERM, _pipe, all_threads=False, chain=True)
    try:
        yield
    finally:
        faulthandler.disable()
        if is_asked:
            faulthandler.unregister(signal.SIGTERM)
        if was_enabled:
            with suppress(OSError, ValueError, RuntimeError):
                faulthandler.enable(sys.__stderr__ or 2)
        _write("bye")
        os.close(_pipe)
        _pipe = None
        watcher.wait()
        if note is not None:
            note.unlink(missing_ok=True)


@contextmanager
def telling_where_it_goes_on(otherwise: str) -> Iterator[None]:
    """While the block runs, a training is under way: the next run does `otherwise` with it, unless `goes_on_after`."""
    _write(f"next the next run {otherwise}")
    try:
        yield
    except DivergedError:
        _write(f"next {_GO_ON}")  # with what else there is: this one is not gone on with
        raise
    _write(f"next {_GO_ON}")


def goes_on_after(iteration: int) -> None:
    """A training has a checkpoint after that iteration."""
    _write(f"next the next run goes on after iteration {iteration}")


def read_death(note: Path) -> str | None:
    """How the process that had this note ended; None where it did in order, or has not ended."""
    try:
        told = note.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return None if not told or told.startswith(_ALIVE) else told


_ALIVE = "at work: "


def _take_note(who: str, note: Path, say: Say) -> None:
    """Tell of the last one, and begin the note of this one."""
    with suppress(OSError):
        if note.exists():
            told = read_death(note)
            last = note.read_text(encoding="utf-8", errors="replace").strip().removeprefix(_ALIVE)
            say(f"before this, {told or f'{last} ended without a word, as when the machine stops; {_GO_ON}'}")
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{_ALIVE}{who} (process {os.getpid()}, since {time.strftime('%H:%M:%S')})\n")


def _write(line: str) -> None:
    if _pipe is not None:
        with suppress(OSError):  # the watcher itself was ended
            os.write(_pipe, f"{line}\n".encode())
