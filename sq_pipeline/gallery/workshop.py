"""The workshop: what pages ask for is decided at once, and made by one thread, one after another. Its jobs tell of it.

One thread, since the locks between processes do not keep threads of one process apart. Not here: what is done
(`actions`).
"""

import secrets
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, Literal

from sq_pipeline.common.endings import explain_end
from sq_pipeline.common.errors import Fault, SqPipelineError
from sq_pipeline.gallery.actions import ACTIONS, Asked, Work
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.pipeline.worlds.named_picture import find_picture

_REMEMBERED = 20  # jobs that have ended


@dataclass(frozen=True)
class Job:
    """One thing that was asked of a picture. `decided`: what was written down; `told`: how far it is, or how it ended;
    `done` of `total` pictures are rendered.
    """

    number: int
    picture: str
    action: str
    decided: str = ""
    state: Literal["waiting", "working", "done", "failed"] = "waiting"
    told: str = ""
    faults: tuple[Fault, ...] = ()
    done: int = 0
    total: int = 0

    def as_json(self) -> dict[str, Any]:
        """What the page knows of it."""
        plain = ("number", "picture", "action", "decided", "state", "told", "done", "total")
        return {**{name: getattr(self, name) for name in plain}, "faults": as_texts(self.faults)}


def as_texts(faults: tuple[Fault, ...]) -> list[dict[str, str]]:
    """Faults as a page shows them: what is wrong, and what to do about it."""
    return [{"problem": str(replace(fault, hint="")), "hint": fault.hint} for fault in faults]


class Ended(Exception):
    """The gallery ends: what is under way stops after the present picture."""


class Workshop:
    """Of the data directory of a survey. `token`: what a page has to show, new with every workshop."""

    def __init__(self, survey: Survey) -> None:
        self.token = secrets.token_urlsafe(32)
        self._survey = survey
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._lock = threading.Lock()
        self._deciding = threading.Lock()  # the choices' own lock does not keep threads apart
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._has_ended = threading.Event()

    def ask(self, picture_id: str, action: str, asked: Asked) -> Job | None:
        """Decide, and begin to make; None for a picture that is not expected, or an action that there is not.

        Raises SqPipelineError where it cannot be decided; nothing is changed then.
        """
        named, found = self._survey.named(picture_id), ACTIONS.get(action)
        if named is None or found is None:
            return None
        name, tier = named
        with self._deciding:
            context = self._survey.make_context()
            context.looks_ahead = False  # as commands decide: by what there is now
            decided = found.decide(context, find_picture(context, name, tier), asked)
        with self._lock:
            self._last = number = self._last + 1
            self._jobs[number] = job = Job(number, picture_id, action, decided)
            self._forget()

        def make() -> None:
            work = Work(
                context.data,
                context.engines,
                name,
                tier,
                asked,
                tell=lambda line: self._note(number, told=line),
                advance=lambda done, total: self._advance(number, done, total),
            )
            self._note(number, state="working")
            told = found.make(work)
            self._survey.look_at_one(picture_id)  # who hears that it is done sees it too
            self._note(number, told=told, state="done")

        self._begin()
        self._queue.put(lambda: self._tried(number, make))
        return job

    def jobs(self) -> list[dict[str, Any]]:
        """All that are under way, and the last that have ended, the oldest first."""
        with self._lock:
            return [job.as_json() for job in self._jobs.values()]

    def stop(self, within_s: float = 0) -> None:
        """Begin nothing more, and end what is under way after its present picture, or leave it after `within_s`."""
        self._has_ended.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(within_s)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._go_on, name="workshop", daemon=True)
                self._thread.start()

    def _go_on(self) -> None:
        while (make := self._queue.get()) is not None and not self._has_ended.is_set():
            make()

    def _tried(self, number: int, make: Callable[[], None]) -> None:
        try:
            make()
        except Ended:
            self._note(number, state="failed", told="the gallery has ended")
        except Exception as error:
            self._note(number, state="failed", told="", faults=faults_of(error))

    def _advance(self, number: int, done: int, total: int) -> None:
        self._note(number, done=done, total=total, told="")
        if self._has_ended.is_set():
            raise Ended

    def _note(self, number: int, **changes: Any) -> None:
        with self._lock:
            self._jobs[number] = replace(self._jobs[number], **changes)

    def _forget(self) -> None:
        ended = [number for number, job in self._jobs.items() if job.state in ("done", "failed")]
        for number in ended[:-_REMEMBERED]:
            del self._jobs[number]


def faults_of(error: Exception) -> tuple[Fault, ...]:
    """What a person is told of any error; the traceback of a bug of ours is for the terminal."""
    if isinstance(error, SqPipelineError):
        return error.faults
    if (fault := explain_end(error)) is not None:
        return (fault,)
    sys.stderr.write("".join(traceback.format_exception(error)))
    return (Fault("", "", f"{type(error).__name__}: {error}", "the terminal of the gallery has more"),)
