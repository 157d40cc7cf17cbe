"""Trainings that other processes do while this one trains, scores or renders: what a machine has more cores for.

Each leaves the state after its last iteration beside its checkpoints, where the trainer of this process finds it. What
happens to one of them costs time and nothing else: a training that is not there is done here. None outlives this
process. Not here: which trainings (`mlx_adapter`), what such a process runs (`defs.train_ahead`).
"""

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import DivergedError
from sq_pipeline.common.processes.deaths import describe_exit
from sq_pipeline.common.processes.guarded_process import run_guarded
from sq_pipeline.common.processes.headway import Watch
from sq_pipeline.common.processes.passed_on import Passed, Reads, is_passed
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.training.checkpoint_folders import divergence_in
from sq_pipeline.training.ports import Trainer, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.support import RECIPE_FILE, TrainerSupport

_TICK_S = 0.1
WARNING = "warning: "  # what a line begins with that such a process has for people
_GOES_ON = "it goes on here, after its last checkpoint"

Say = Callable[[str], None]


class CommandOf(Protocol):
    """What a process runs for a training; when one that `is_last` ends, none will wait for its turn."""

    def __call__(self, key: str, fingerprint: str, *, is_last: bool) -> Sequence[str]: ...


class TrainingAhead:
    """At most `most` trainings in processes of their own at a time; `command_of` says what they run.

    `say` is told of one that failed.
    """

    def __init__(self, command_of: CommandOf, most: int, say: Say) -> None:
        self._command_of, self._most, self._say = command_of, most, say
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, str]] = deque()
        self._running: dict[str, threading.Event] = {}  # by fingerprint; set when it has ended
        self._told: dict[str, Passed] = {}  # by fingerprint, how far it is
        self._known: set[str] = set()
        self._workers: list[threading.Thread] = []
        self._is_closed = threading.Event()

    def begin(self, trainings: Sequence[tuple[str, str]]) -> None:
        """Begin with these, or line them up; those that were begun before are not begun again."""
        with self._lock:
            self._is_closed.clear()
            new = [(key, wanted) for key, wanted in trainings if wanted not in self._known]
            self._known |= {wanted for _, wanted in new}
            self._waiting.extend(new)
            for _ in range(min(self._most - len(self._workers), len(self._waiting))):
                worker = threading.Thread(target=self._work, daemon=True)
                self._workers.append(worker)
                worker.start()

    def await_end(self, fingerprint: str) -> None:
        """Wait until no process trains this, and show how far it is; one that waits its turn is left to the caller."""
        with self._lock:
            self._waiting = deque(item for item in self._waiting if item[1] != fingerprint)
            ended = self._running.get(fingerprint)
        while ended is not None and not ended.wait(_TICK_S):  # in short steps, so that Ctrl-C comes through
            if (told := self._told.get(fingerprint)) is not None:
                self._show(fingerprint, told, ended)

    def _show(self, fingerprint: str, told: Passed, ended: threading.Event) -> None:
        """Show one piece of its work, until it does another or ends."""
        with progress_of(told.what, told.total, told.done) as shown:
            what = told.what
            while told.what == what:
                shown.reach(told.done, told.note, told.left_s)
                if ended.wait(_TICK_S):
                    return
                told = self._told.get(fingerprint, told)

    def close(self) -> None:
        """End what still runs; its checkpoints stay. It can be begun again later."""
        self._is_closed.set()
        with self._lock:
            self._waiting.clear()
            workers = list(self._workers)
        for worker in workers:
            worker.join()
        self._known.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._is_closed.is_set():
                    self._workers.remove(threading.current_thread())
                    return
                key, fingerprint = self._waiting.popleft()
                self._running[fingerprint] = ended = threading.Event()
                idle = len(self._workers) - len(self._running)
                command = self._command_of(key, fingerprint, is_last=len(self._waiting) <= idle)
            try:
                self._run(key, fingerprint, command)
            finally:
                with self._lock:
                    del self._running[fingerprint]
                    self._told.pop(fingerprint, None)
                ended.set()

    def _run(self, key: str, fingerprint: str, command: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
            watch = Watch(f"{key}: the training in a process of its own", self._say)
            try:
                with run_guarded(command, folder, environment, folder / "log", watch=watch) as process:
                    code, reads = None, Reads(folder / "log")
                    while code is None and not self._is_closed.is_set():
                        code = process.wait_for(_TICK_S)
                        if (told := reads.latest()) is not None:
                            self._told[fingerprint] = told
                lines = (folder / "log").read_text(errors="replace").strip().splitlines()
                words = [line for line in lines if not is_passed(line)]
            except OSError as error:
                code, words = 1, [str(error)]
        for word in words:
            if word.startswith(WARNING):
                self._say(f"{key}: {word}")
        if code:
            last = describe_exit(code) or (words[-1] if words else f"exit code {code}")
            self._say(f"{key}: the training in a process of its own ended early ({last}); {_GOES_ON}")


class AheadTrainer:
    """A trainer that first waits for the process that trains the same, if there is one, and takes up what it left."""

    def __init__(self, trainer: Trainer, ahead: TrainingAhead) -> None:
        self._trainer, self._ahead = trainer, ahead

    @property
    def support(self) -> TrainerSupport:
        """As the trainer says."""
        return self._trainer.support

    def describe(self) -> EngineDescription:
        """As the trainer says."""
        return self._trainer.describe()

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """As the trainer does. Raises DivergedError without training where the other process has noted that."""
        if request.checkpoints is not None:
            self._ahead.await_end(request.checkpoints.identity)
            diverged = divergence_in(request.checkpoints.folder, self.describe().chip, RECIPE_FILE)
            if diverged is not None:
                raise DivergedError(diverged)
        return self._trainer.train(request, on_progress)
