"""`mflux-train` as a trainer, for the families that it knows. Implements `training.ports.Trainer`.

Here: the course of a training. Not here: what it is told (`families.train_config`, `families.train_pictures`), what it
leaves (`mflux_train.folder`), running a child (`trainers.guarded_process`).
"""

import json
import logging
import math
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_scan import scan_tensors
from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BaseModel, QwenModel
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.atomic import copy_file, write_text
from sq_pipeline.common.errors import BaseModelError, Fault, TrainingError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.processes.guarded_process import CannotStart, ChildResult, run_child
from sq_pipeline.common.processes.headway import SILENCE_S, Watch
from sq_pipeline.engines import versions
from sq_pipeline.engines.device_memory import computing_dtype, usable_bytes
from sq_pipeline.engines.trainers.mflux_train import config as train_config
from sq_pipeline.engines.trainers.mflux_train.config import DATA, CheckpointPlan
from sq_pipeline.engines.trainers.mflux_train.folder import TrainFolder, losses_of
from sq_pipeline.engines.trainers.mflux_train.pictures import write_pictures
from sq_pipeline.engines.trainers.mflux_train.support import SUPPORT
from sq_pipeline.training.environment import child_environment, may_download
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.ports import KeptAdapter, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.support import RECIPE_FILE, TrainerSupport, unsupported_faults

_log = logging.getLogger(__name__)

# -P: it runs in a folder of the data directory, from which nothing is imported
_COMMAND = (sys.executable, "-P", "-m", "sq_pipeline.engines.trainers.mflux_train.process")
_LOG = "mflux-train.log"
_WATCH = Watch("mflux-train", _log.warning, SILENCE_S)
_HINT_LOSS = "lower it"
OnProgress = Callable[[TrainProgress], None]


class MfluxTrainTrainer:
    """The `Trainer` of `training.ports` over mflux's own. `command` is what runs it; its arguments follow."""

    support: TrainerSupport = SUPPORT

    def __init__(self, data: DataDir, command: Sequence[str] = _COMMAND) -> None:
        self._data, self._command = data, tuple(command)

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_mflux_train`."""
        return versions.describe_mflux_train()

    def train(self, request: TrainRequest, on_progress: OnProgress) -> TrainResult:
        """Train one adapter; raises BaseModelError, TrainingError, StorageError. Interrupted, it leaves no adapter.

        The file is mflux-train's own, byte for byte. A validation loss is not measured; the pictures are held out.
        """
        recipe, plan = request.recipe, request.plan
        base_model = _trained_over(plan.base_model)
        pictures = len(plan.trained) * plan.crops.num_augmentations
        faults = [*unsupported_faults(recipe, SUPPORT), *train_config.faults_of(recipe, base_model, pictures)]
        if faults:
            raise TrainingError(faults)
        checkpoints = train_config.plan_checkpoints(recipe, pictures)
        assert checkpoints is not None  # said above otherwise
        weights = files.base_model_folder(base_model, self._data)
        _insist_on_assistant(base_model)
        settings = plan.settings(usable_bytes(), computing_dtype())
        samples = bool(request.sample_prompts)
        config = train_config.write_config(plan, base_model, settings, weights, pictures, checkpoints.interval, samples)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) if request.checkpoints is None else request.checkpoints.folder
            run = _Run(request, checkpoints, settings, TrainFolder(folder), config, on_progress)
            return run.train(self._command, self.describe())


def _trained_over(base_model: BaseModel) -> QwenModel:
    if isinstance(base_model, QwenModel):
        return base_model
    raise TrainingError(train_config.family_fault(base_model))


def _insist_on_assistant(base_model: QwenModel) -> None:
    """mflux-train would download the adapter that it puts under a distilled model; BaseModelError instead, unless
    a person allowed it.
    """
    if base_model.assistant is None or may_download(child_environment()):
        return
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = base_model.assistant.partition(":")
    if not isinstance(try_to_load_from_cache(repository, file), str):
        problem = f"mflux-train needs {file} to train over {base_model.name}"
        raise BaseModelError(Fault(RECIPE_FILE, "base_model", problem, f"run `hf download {repository} {file}`"))


class _Run:
    """One training: from its folder as it is to its result."""

    def __init__(
        self,
        request: TrainRequest,
        plan: CheckpointPlan,
        settings: TrainingSettings,
        folder: TrainFolder,
        config: Mapping[str, object],
        on_progress: OnProgress,
    ) -> None:
        self._request, self._plan, self._folder, self._config = request, plan, folder, config
        self._settings, self._on_progress = settings, on_progress
        self._iterations = request.recipe.iterations
        self._losses: dict[int, float] = {}
        self._told = 0  # the iteration that was told last
        self._shown: set[tuple[int, int]] = set()
        self._earlier_s = 0.0
        self._start = time.perf_counter()
        self._encode_s = 0.0
        self._is_done = False

    def train(self, command: Sequence[str], engine: EngineDescription) -> TrainResult:
        """Run mflux-train to the recipe's last iteration, from the last checkpoint if there is one."""
        plan, folder = self._request.plan, self._folder.folder
        examples = plan.trained_of(self._request.examples)
        self._folder.clear_data()
        # without one mflux-train draws the first caption; it draws something in any case, see `write_config`
        prompts = self._request.sample_prompts or (examples[0].caption,)
        pictures = write_pictures(folder / DATA, examples, plan.crops, plan.recipe.seed, prompts)
        settled_by = {
            "request": None if self._request.checkpoints is None else self._request.checkpoints.identity,
            "config": {**self._config, "model_path": None},  # where the weights are; the request says which
            "pictures": pictures,
            "kept": list(self._plan.kept),
            "trainer": dict(engine.versions),
            "chip": engine.chip,
        }
        checkpoint = self._folder.open(fingerprint(settled_by))
        if checkpoint is None:
            write_text(folder / "train.json", json.dumps(self._config, indent=2))
            arguments = ("--config", "train.json")
        else:
            self._reuse(checkpoint)
            arguments = ("--resume", str(checkpoint.relative_to(folder)))
        if not self._is_done:
            self._run([*command, *arguments])
        return self._result()

    def _run(self, command: Sequence[str]) -> None:
        folder = self._folder.folder
        try:
            result = run_child(command, folder, child_environment(), folder / _LOG, self._look, _WATCH)
        except CannotStart as error:
            problem = f"{command[0]} cannot be started ({error.strerror})"
            raise TrainingError(Fault(RECIPE_FILE, "trainer", problem, "install mflux again")) from error
        if not self._is_done:
            raise self._failure(result)
        self._folder.remove_after(self._iterations)  # it goes on until it is ended

    def _reuse(self, checkpoint: Path) -> None:
        iteration = int(checkpoint.name.partition("_")[0])
        self._losses = dict(losses_of(checkpoint))
        self._told = iteration
        self._shown = {key for key in self._folder.samples() if key[0] <= iteration}
        self._earlier_s = self._folder.notes.elapsed_s.get(str(iteration), 0.0)
        self._insist_on_numbers(range(1, iteration + 1))
        for done, path in self._folder.new_checkpoints():  # one may have become whole with nobody to note it
            elapsed_s = self._folder.notes.elapsed_s.get(str(done), self._earlier_s)
            self._folder.adopt(done, path, elapsed_s, self._plan.kept)
        if iteration >= self._iterations:
            self._is_done = True
            return
        if iteration:
            self._folder.note_resume(iteration)
        _log.info("resumed after iteration %d", iteration)

    def _elapsed_s(self) -> float:
        return self._earlier_s + time.perf_counter() - self._start

    def _look(self) -> bool:
        """Tell what is new; True when the last iteration's checkpoint is there."""
        self._tell(self._folder.losses() or {})
        for iteration, path in self._folder.new_checkpoints():
            self._tell(losses_of(path))
            self._insist_on_numbers(range(self._told + 1, min(iteration, self._iterations) + 1))
            if iteration <= self._iterations:
                self._folder.adopt(iteration, path, self._elapsed_s(), self._plan.kept)
            self._is_done = self._is_done or iteration == self._iterations
        return self._is_done

    def _tell(self, losses: Mapping[int, float]) -> None:
        """Progress for every iteration that is new; raises TrainingError for one that is missing among them."""
        new = [iteration for iteration in sorted(losses) if self._told < iteration <= self._iterations]
        if not new:
            return
        if not self._encode_s:
            self._encode_s = time.perf_counter() - self._start
        elapsed_s = self._elapsed_s()
        samples = self._new_samples()
        for iteration in new:
            self._insist_on_numbers(range(self._told + 1, iteration))
            self._losses[iteration], self._told = losses[iteration], iteration
            if not math.isfinite(losses[iteration]):
                raise self._stopped(iteration)
            sample = samples.pop(0) if samples and iteration == new[-1] else None
            self._on_progress(TrainProgress(iteration, self._iterations, losses[iteration], elapsed_s, sample=sample))

    def _new_samples(self) -> list[Path]:
        """The first new picture of each interval, where pictures were asked for."""
        if not self._request.sample_prompts:
            return []
        found = {key: path for key, path in self._folder.samples().items() if key not in self._shown}
        self._shown.update(found)
        return [path for (_, prompt), path in sorted(found.items()) if prompt == 0]

    def _insist_on_numbers(self, iterations: range) -> None:
        """mflux-train passes over a step whose loss is no number, and tells of none: that is where one is missing."""
        for iteration in iterations:
            if iteration not in self._losses:
                raise self._stopped(iteration)

    def _stopped(self, iteration: int) -> TrainingError:
        kept = max((done for done in map(int, self._folder.notes.elapsed_s) if 0 < done < iteration), default=None)
        last = "" if kept is None else f" (the checkpoint after iteration {kept} is kept)"
        problem = f"the loss became no number at iteration {iteration}"
        return TrainingError(Fault(RECIPE_FILE, "learning_rate", problem, f"{_HINT_LOSS}{last}"))

    def _failure(self, result: ChildResult) -> TrainingError:
        if result.exit_code == 0 and self._told < self._iterations and "non-finite" in " ".join(result.last_lines):
            return self._stopped(self._told + 1)
        problem = f"mflux-train ended after iteration {self._told} of {self._iterations}: {result.last_words}"
        return TrainingError(
            Fault(RECIPE_FILE, "trainer", problem, f"all that it said is in {_LOG}; {self._goes_on()}")
        )

    def _goes_on(self) -> str:
        last = self._folder.last_iteration
        return f"the next run goes on after iteration {last}" if last else "the next run begins anew"

    def _result(self) -> TrainResult:
        final = self._folder.kept_path(self._iterations)
        modules = len(self._config["lora_layers"]["targets"])  # type: ignore[index]
        file = open_safetensors(final)
        if broken := scan_tensors(file).not_finite:
            raise TrainingError(Fault(RECIPE_FILE, "learning_rate", f"{broken[0]} became no number", _HINT_LOSS))
        if len(file.tensors) != 2 * modules:
            problem = f"mflux-train wrote {len(file.tensors)} tensors for {modules} modules"
            raise TrainingError(Fault(RECIPE_FILE, "trainer", problem, "its file is not what it should be"))
        kept: list[KeptAdapter] = []
        samples: list[tuple[int, Path]] = []
        if self._request.checkpoints is not None:
            kept = [KeptAdapter(iteration, self._folder.kept_path(iteration)) for iteration in self._plan.kept[:-1]]
            if self._request.sample_prompts:
                drawn = self._folder.samples().items()
                samples = [(iteration, path) for (iteration, _), path in drawn if iteration <= self._iterations]
        copy_file(final, self._request.output_path)
        return TrainResult(
            losses=tuple(self._losses[iteration] for iteration in range(1, self._iterations + 1)),
            wall_s=self._elapsed_s(),
            encode_s=self._encode_s,
            tensors=len(file.tensors),
            peak_memory_bytes=_peak_memory_bytes(),
            resumed_at=tuple(self._folder.notes.resumed_at),
            kept=(*kept, KeptAdapter(self._iterations, self._request.output_path)),
            samples=tuple(samples),
            settings={**self._settings.as_json(), "checkpoint_interval": self._plan.interval},
        )


def _peak_memory_bytes() -> int:
    """The most that a child of this process had resident; bytes on macOS, KiB elsewhere."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
