"""mlx-examples' FLUX.1 trainer as a `Trainer` of `training.ports`: its `dreambooth.py`, run from the user's checkout.

Here: the course of a training. Not here: the checkout, the command line, the dataset, what it prints, the adapters
(`mlx_examples_*`), the process (`guarded_process`).
"""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.atomic import copy_file
from sq_pipeline.common.errors import Fault, SqPipelineError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.deaths import describe_exit
from sq_pipeline.common.processes.guarded_process import CannotStart, run_guarded
from sq_pipeline.common.processes.headway import SILENCE_S, Watch
from sq_pipeline.engines import machine
from sq_pipeline.engines.trainers.mlx_examples.adapter import check_adapter
from sq_pipeline.engines.trainers.mlx_examples.checkout import (
    NAME,
    MlxExamplesCheckout,
    open_checkout,
    program_faults,
)
from sq_pipeline.engines.trainers.mlx_examples.dataset import write_dataset
from sq_pipeline.engines.trainers.mlx_examples.output import (
    FINAL,
    REPORT_INTERVAL,
    IterationLine,
    SampleLine,
    SaveLine,
    adapter_path,
    last_error,
    read_line,
    remove_outputs,
    sample_path,
)
from sq_pipeline.engines.trainers.mlx_examples.recipe import arguments, check_recipe, checkpoint_every
from sq_pipeline.engines.trainers.mlx_examples.support import SUPPORT
from sq_pipeline.engines.trainers.mlx_examples.weights import check_weights
from sq_pipeline.training.environment import child_environment
from sq_pipeline.training.ports import KeptAdapter, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.support import TrainerSupport, unsupported_faults

_log = logging.getLogger(__name__)

LOG = "mlx-examples.log"
_TAIL_BYTES = 1 << 16
_WATCH = Watch("mlx-examples", _log.warning, SILENCE_S)
_Made = TypeVar("_Made")


class MlxExamplesTrainer:
    """Trains with the checkout that `sq.yaml` names. What it cannot do of a recipe is refused, never left out.

    It has no resume: a training that was cut off begins anew. It tells of every tenth iteration, and of a picture it
    drew with the next of these; drawing takes numbers from the training's own random sequence, so that another
    `sample_interval` is a training with other noise.
    """

    support: TrainerSupport = SUPPORT

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def describe(self) -> EngineDescription:
        """Name, versions and chip; raises what `open_checkout` raises."""
        return EngineDescription(NAME, open_checkout(self._data).versions(), machine.chip_name())

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Train one adapter. Raises TrainingError (everything that is wrong beforehand at once) and StorageError.

        Interrupted, it ends the process and leaves no adapter at `output_path`; its log and what it saved stay in the
        checkpoints' folder until the next training there.
        """
        plan = request.plan
        base_model, examples = plan.base_model, plan.trained_of(request.examples)
        with tempfile.TemporaryDirectory() as scratch:
            dataset = Path(scratch) / "dataset"
            faults = [*unsupported_faults(request.recipe, SUPPORT)]
            faults += check_recipe(request.recipe, base_model, len(examples))
            faults += check_weights(base_model) if not any(fault.field == "base_model" for fault in faults) else []
            checkout = _collect(faults, lambda: open_checkout(self._data))
            faults += [] if checkout is None else program_faults(checkout, self._data)
            _collect(faults, lambda: write_dataset(examples, dataset, plan.crops))
            if faults or checkout is None:
                raise TrainingError(faults)
            folder = Path(scratch) / "output" if request.checkpoints is None else request.checkpoints.folder
            folder.mkdir(parents=True, exist_ok=True)
            remove_outputs(folder)
            return _Training(request, checkout, folder, on_progress).run(dataset, Path(scratch) / "bytecode")


def _environment(bytecode: Path) -> dict[str, str]:
    """Sources alone were allowed: compiled files that lie beside them are not read."""
    environment = {**child_environment(), "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONSAFEPATH", None)  # the script imports what is beside it
    return environment


def _collect(faults: list[Fault], make: Callable[[], _Made]) -> _Made | None:
    try:
        return make()
    except SqPipelineError as error:
        faults += error.faults
        return None


@dataclass
class _Training:
    """One run of `dreambooth.py`, and what it has told so far."""

    request: TrainRequest
    checkout: MlxExamplesCheckout
    folder: Path
    on_progress: Callable[[TrainProgress], None]
    losses: list[float] = field(default_factory=list[float])
    samples: dict[int, Path] = field(default_factory=dict[int, Path])
    told_samples: set[int] = field(default_factory=set[int])
    saved: list[int] = field(default_factory=list[int])
    peak_memory_bytes: int = 0
    begun: float | None = None  # when its first iteration did

    @property
    def kept_iterations(self) -> tuple[int, ...]:
        """The iterations whose adapters stay; without a folder for them only the last."""
        recipe = self.request.recipe
        return recipe.kept_iterations() if self.request.checkpoints is not None else (recipe.iterations,)

    def run(self, dataset: Path, bytecode: Path) -> TrainResult:
        start = time.perf_counter()
        command = [str(self.checkout.python), str(self.checkout.script)]
        command += arguments(self.request, dataset, self.folder)
        _log.info("mlx-examples trains from the beginning, it cannot be continued; its log is %s", self._log_path)
        self._log_choices()
        try:
            with run_guarded(
                command, self.checkout.folder, _environment(bytecode), self._log_path, reads_lines=True, watch=_WATCH
            ) as process:
                for line in process.lines():
                    self._read(line)
                code = process.wait()
        except CannotStart as error:
            problem = f"{self.checkout.python} could not be run ({error.strerror or error})"
            raise TrainingError(Fault("sq.yaml", "mlx_examples.python", problem, "correct the path")) from error
        if code != 0:
            raise self._failed(code)
        tensors, kept = self._adopt()
        wall_s = time.perf_counter() - start
        return TrainResult(
            losses=tuple(self.losses),
            wall_s=wall_s,
            encode_s=(self.begun or start) - start,
            tensors=tensors,
            peak_memory_bytes=self.peak_memory_bytes,
            kept=kept,
            samples=tuple(sorted(self._drawn())) if self.request.checkpoints is not None else (),
            settings={
                "checkpoint_every": checkpoint_every(self.request.recipe, is_kept=self.request.checkpoints is not None),
                "resolution": f"{self.request.plan.size.width_px}x{self.request.plan.size.height_px}",
            },
        )

    def _log_choices(self) -> None:
        """What it does otherwise than the recipe says, without another adapter coming of it."""
        recipe, prompts = self.request.recipe, self.request.sample_prompts
        every = checkpoint_every(recipe, is_kept=self.request.checkpoints is not None)
        if every < recipe.checkpoint_interval:
            _log.warning("an adapter is saved every %d iterations, so that those to be kept are among them", every)
        if len(prompts) > 1:
            _log.info("mlx-examples draws one prompt: the first of %d, %r", len(prompts), prompts[0])

    @property
    def _log_path(self) -> Path:
        return self.folder / LOG

    def _read(self, line: str) -> None:
        told = read_line(line)
        if isinstance(told, IterationLine):
            self._report(told)
        elif isinstance(told, SampleLine) and self.request.sample_prompts:
            self.samples[told.iteration] = sample_path(self.folder, told.iteration)
        elif isinstance(told, SaveLine):
            self._tidy(self.saved)  # those that were saved before are written to the end
            self.saved.append(told.iteration)

    def _report(self, told: IterationLine) -> None:
        now = time.perf_counter()
        if not math.isfinite(told.loss):
            raise self._stopped(told)
        if self.begun is None:
            self.begun = now - (told.iteration / told.pace if told.pace > 0 else 0)
        self.losses.append(told.loss)
        self.peak_memory_bytes = max(self.peak_memory_bytes, told.memory_bytes)
        new = [pair for pair in sorted(self._drawn()) if pair[0] not in self.told_samples]
        self.told_samples |= {iteration for iteration, _ in new}
        self.on_progress(
            TrainProgress(
                told.iteration,
                self.request.recipe.iterations,
                told.loss,
                now - self.begun,
                memory_bytes=told.memory_bytes or None,
                sample=new[-1][1] if new else None,
            )
        )

    def _drawn(self) -> Iterable[tuple[int, Path]]:
        return [(iteration, path) for iteration, path in self.samples.items() if path.is_file()]

    def _tidy(self, saved: list[int]) -> None:
        """Remove all saved adapters but the last and those that are kept: nothing can be continued from them."""
        for iteration in saved[:-1]:
            if iteration not in self.kept_iterations:
                adapter_path(self.folder, iteration).unlink(missing_ok=True)

    def _stopped(self, told: IterationLine) -> TrainingError:
        problem = f"the loss became {told.loss} by iteration {told.iteration}"
        good = [iteration for iteration in self.saved if iteration <= told.iteration - REPORT_INTERVAL]
        paths = [adapter_path(self.folder, iteration) for iteration in good]
        last = next((path for path in reversed(paths) if path.is_file()), None)
        if last is not None and self.request.checkpoints is not None:
            problem += f"; the last good adapter is {last}"
        return TrainingError(Fault("lora.yaml", "learning_rate", problem, "lower the learning rate, or warm up longer"))

    def _failed(self, code: int) -> TrainingError:
        log = self._log_path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        by_signal = describe_exit(code)
        problem = f"mlx-examples was {by_signal}" if by_signal else f"mlx-examples failed: {last_error(log)}"
        hint = (
            f"its whole output is in {self._log_path}" if self.request.checkpoints is not None else "see its checkout"
        )
        if by_signal:
            hint = f"the next run begins anew, it cannot be continued; {hint}"
        return TrainingError(Fault("", "", problem, hint))

    def _adopt(self) -> tuple[int, tuple[KeptAdapter, ...]]:
        """Check what is kept, then bring the final adapter to the request's output, whole or not at all."""
        recipe = self.request.recipe
        last = adapter_path(self.folder, recipe.iterations)
        final = self.folder / FINAL if (self.folder / FINAL).is_file() else last
        kept = [KeptAdapter(iteration, adapter_path(self.folder, iteration)) for iteration in self.kept_iterations[:-1]]
        faults: list[Fault] = []
        tensors = None
        for path in (*(adapter.path for adapter in kept), final):
            tensors = _collect(faults, lambda path=path: check_adapter(path, self.request.plan.base_model, recipe.rank))
        if not self.losses:
            faults.append(Fault(LOG, "", "mlx-examples told of no loss", "is this its flux/dreambooth.py?"))
        if faults:
            raise TrainingError(faults)
        assert tensors is not None
        copy_file(final, self.request.output_path)
        for path in {final, last}:
            path.unlink(missing_ok=True)
        self._tidy([*self.saved, recipe.iterations])
        return tensors, (*kept, KeptAdapter(recipe.iterations, self.request.output_path))
