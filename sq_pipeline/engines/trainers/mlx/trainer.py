"""The MLX LoRA trainer over FLUX.1 in the BFL layout. Implements `training.ports.Trainer`.

Here: the course of a training, its result. Not here: an iteration (`mlx.loop`), encoding (`dataset_encoding`), the
layers and the file (`lora_layers`), the base models (`mlx.base`), preflight and reports (`training`).
"""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import mlx.core as mx

from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import DivergedError, Fault
from sq_pipeline.common.fingerprints import fingerprint, hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import versions
from sq_pipeline.engines.device_memory import computing_dtype, usable_bytes
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.trainers.mlx.base import TrainingBase, open_training_base
from sq_pipeline.engines.trainers.mlx.checkpoints import Checkpoint, CheckpointFolder
from sq_pipeline.engines.trainers.mlx.dataset_encoding import add_prior, encode_dataset
from sq_pipeline.engines.trainers.mlx.encoded_dataset import EncodedDataset, load_encoded, save_encoded
from sq_pipeline.engines.trainers.mlx.loop import LoopState, TrainingLoop
from sq_pipeline.engines.trainers.mlx.lora_layers import add_recipe_lora, save_adapter
from sq_pipeline.engines.trainers.mlx.loss_watch import describe_fault, good_until, is_doubtful
from sq_pipeline.engines.trainers.mlx.samples import SampleStrips
from sq_pipeline.engines.trainers.mlx.support import SUPPORT
from sq_pipeline.engines.trainers.mlx.validation_loss import ValidationLoss
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.ports import KeptAdapter, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.recipe import Recipe, trained_values
from sq_pipeline.training.schedule import SCHEDULE_REVISION
from sq_pipeline.training.support import TrainerSupport, refuse_unsupported

_log = logging.getLogger(__name__)


_ENCODED = "encoded.safetensors"


OnProgress = Callable[[TrainProgress], None]


class MlxLoraTrainer:
    """The `Trainer` of `training.ports`, for the base models of a data directory."""

    support: TrainerSupport = SUPPORT

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def describe(self) -> EngineDescription:
        """Name, versions and chip; see `registry.describe_trainer`."""
        return versions.describe_trainer()

    def train(self, request: TrainRequest, on_progress: OnProgress) -> TrainResult:
        """Train one adapter; raises BaseModelError, DatasetError, TrainingError, StorageError.

        Interrupted, it leaves no adapter.
        """
        start = time.perf_counter()
        mx.reset_peak_memory()
        recipe, plan = request.recipe, request.plan
        refuse_unsupported(recipe, SUPPORT)
        base = open_training_base(plan.base_model, self._data)
        settings = plan.settings(usable_bytes(), computing_dtype())
        network, dataset = prepare(base, settings, request, self._identity(request, settings, _encoded_from(request)))
        encode_s = time.perf_counter() - start
        mx.random.seed(recipe.seed)
        add_recipe_lora(network, recipe)
        mx.eval(network.parameters())
        with ExitStack() as stack:
            place = request.checkpoints.folder if request.checkpoints is not None else None
            # without a place for checkpoints nothing of the way is kept, but the same way is gone
            folder = place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            run = _Run(base, network, dataset, request, folder)
            checkpoints = (
                CheckpointFolder(folder, self._identity(request, settings, _encoded_as(dataset)))
                if place is not None
                else None
            )
            run.resume(checkpoints)
            run.go(checkpoints, on_progress)
            tensors = save_adapter(request.output_path, network, recipe.rank)
            return TrainResult(
                losses=tuple(run.losses),
                wall_s=run.earlier_s + time.perf_counter() - start,
                encode_s=encode_s,
                tensors=tensors,
                peak_memory_bytes=mx.get_peak_memory(),
                resumed_at=run.resumed_at,
                validation=tuple(run.validation),
                kept=(*run.kept(), KeptAdapter(recipe.iterations, request.output_path)),
                samples=run.samples.drawn(recipe.iterations) if place is not None else (),
                settings=settings.as_json(),
            )

    def _identity(self, request: TrainRequest, settings: TrainingSettings, encoded: Mapping[str, object]) -> str:
        """A hash of what settles a training, and of what is `encoded` for it."""
        engine = self.describe()
        return fingerprint(
            {
                "request": request.checkpoints.identity if request.checkpoints is not None else None,
                "recipe": trained_values(request.recipe),
                "base_model": request.plan.base_model.name,
                "settings": settings.as_json(),
                **encoded,
                "trainer": dict(engine.versions),
                "schedule": SCHEDULE_REVISION,
                "chip": engine.chip,  # another one's arithmetic would continue another run
            }
        )


def _encoded_from(request: TrainRequest) -> dict[str, object]:
    pairs = [[hash_file(example.image_path), example.caption] for example in request.examples]
    return {"pairs": pairs, "sample_prompts": list(request.sample_prompts)}


def _encoded_as(dataset: EncodedDataset) -> dict[str, object]:
    return {"encoded": dataset.content_hash(with_samples=False)}


def prepare(
    base: TrainingBase, settings: TrainingSettings, request: TrainRequest, identity: str
) -> tuple[Flux, EncodedDataset]:
    """The transformer, and the dataset as it is trained on. Encoded before, it is read from beside the checkpoints.

    Encoders are freed before the transformer is loaded.
    """
    cache = request.checkpoints.folder / _ENCODED if request.checkpoints is not None else None
    dataset = load_encoded(cache, identity) if cache is not None else None
    if dataset is not None:
        return base.load_network(settings), dataset
    dataset = encode_dataset(base, request.examples, request.plan, request.sample_prompts)
    base.encoders.free()
    network = base.load_network(settings)
    dataset = add_prior(dataset, base, network, request.plan)
    if cache is not None:
        save_encoded(cache, dataset, identity)
    return network, dataset


@dataclass
class _Run:
    """One training under way: where it stands and what was told of it."""

    base: TrainingBase
    network: Flux
    dataset: EncodedDataset
    request: TrainRequest
    folder: Path
    losses: list[float] = field(default_factory=list[float])
    validation: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    earlier_s: float = 0.0
    resumed_at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        recipe, base = self.request.recipe, self.base
        self.recipe = recipe
        self.loop = TrainingLoop(self.network, self.dataset, recipe, base.time_curve)
        self.meter = ValidationLoss(self.dataset, recipe, base.time_curve)
        self.samples = SampleStrips(self.folder, base, self.dataset, recipe, self.request.plan.size)

    def resume(self, checkpoints: CheckpointFolder | None) -> None:
        """Bring the loop to the last checkpoint, with what was told up to there."""
        found = checkpoints.resume(self.loop) if checkpoints is not None else None
        if found is not None:
            self.losses, self.validation, self.earlier_s = list(found.losses), list(found.validation), found.elapsed_s
            self.resumed_at = found.resumed_at
            if self.loop.iteration < self.recipe.iterations:  # otherwise it was not cut off: another process trained it
                self.resumed_at = (*self.resumed_at, self.loop.iteration)
                _log.info("resumed after iteration %d", self.loop.iteration)

    def go(self, checkpoints: CheckpointFolder | None, on_progress: OnProgress) -> None:
        """Train to the end, with what is due on the way. Raises TrainingError, StorageError."""
        recipe, loop, start = self.recipe, self.loop, time.perf_counter()
        if loop.iteration == 0:
            self._measure()
            if self._is_sampled(checkpoints):
                self.samples.try_to_draw(self.network, loop.iteration)
        elif loop.iteration == recipe.iterations:
            on_progress(self._ended())
        while loop.iteration < recipe.iterations:
            self.losses.append(loop.advance())
            if problem := describe_fault(self.losses, loop.blank_loss):
                if checkpoints is not None and math.isfinite(self.losses[-1]):  # what is no number comes of one step
                    checkpoints.drop_after(good_until(self.losses, loop.blank_loss)[0])
                raise _diverged(problem)
            is_last = loop.iteration == recipe.iterations
            state = _checked_state(loop) if is_last else None
            validation = self._measure()
            is_sampled = self._is_sampled(checkpoints)
            if is_sampled:  # first: drawing takes memory of its own, and may end the process
                self._keep(checkpoints, state, start)
            sample = self.samples.try_to_draw(self.network, loop.iteration) if is_sampled else None
            elapsed_s = self.earlier_s + time.perf_counter() - start
            on_progress(
                TrainProgress(
                    loop.iteration,
                    recipe.iterations,
                    self.losses[-1],
                    elapsed_s,
                    mx.get_peak_memory(),
                    validation,
                    sample,
                )
            )
            if not is_sampled:
                self._keep(checkpoints, state, start)

    def _keep(self, checkpoints: CheckpointFolder | None, state: LoopState | None, start: float) -> None:
        """Save the adapter and the checkpoint that are due after this iteration."""
        recipe, loop = self.recipe, self.loop
        is_last = loop.iteration == recipe.iterations
        if checkpoints is None or (is_last and not self._keeps_end()):
            return
        if loop.iteration in recipe.kept_iterations() and not is_last:
            with checkpoints.telling_what_is_kept():
                save_adapter(self._kept_path(loop.iteration), self.network, recipe.rank)
        is_due = is_last or _is_due(checkpoints, loop.iteration, recipe)
        if is_due and not is_doubtful(self.losses[-1], loop.blank_loss):
            elapsed_s = self.earlier_s + time.perf_counter() - start
            told = tuple(self.losses), elapsed_s, self.resumed_at, tuple(self.validation)
            checkpoints.save(Checkpoint(state or _checked_state(loop), *told), good_until(self.losses, loop.blank_loss))

    def _keeps_end(self) -> bool:
        place = self.request.checkpoints
        return place is not None and place.keeps_end

    def _ended(self) -> TrainProgress:
        """What is told of a training of which nothing is left to do, with the last sample of it."""
        recipe, samples = self.recipe, self.samples.drawn(self.recipe.iterations)
        return TrainProgress(
            recipe.iterations,
            recipe.iterations,
            self.losses[-1],
            self.earlier_s,
            validation_loss=self.validation[-1][1] if self.validation else None,
            sample=samples[-1][1] if samples else None,
        )

    def _measure(self) -> float | None:
        """The validation loss, where it is due now."""
        iteration = self.loop.iteration
        is_due = iteration % self.recipe.checkpoint_interval == 0 or iteration == self.recipe.iterations
        validation = self.meter.measure(self.network) if is_due else None
        if validation is not None:
            self.validation.append((iteration, validation))
        return validation

    def _is_sampled(self, checkpoints: CheckpointFolder | None) -> bool:
        return checkpoints is not None and self.samples.is_due(self.loop.iteration)

    def kept(self) -> tuple[KeptAdapter, ...]:
        """The adapters that were kept on the way."""
        found = [(at, self._kept_path(at)) for at in self.recipe.kept_iterations()[:-1]]
        return tuple(KeptAdapter(at, path) for at, path in found if path.is_file())

    def _kept_path(self, iteration: int) -> Path:
        return self.folder / f"kept-{iteration:07d}.safetensors"


def _is_due(folder: CheckpointFolder, iteration: int, recipe: Recipe) -> bool:
    # by intervals, not by distance: one that came late, for a doubtful loss, delays no other
    return iteration // recipe.checkpoint_interval > (folder.last_iteration or 0) // recipe.checkpoint_interval


def _checked_state(loop: TrainingLoop) -> LoopState:
    state = loop.state()
    if not state.is_finite():
        raise _diverged(f"the adapter's numbers became nan or inf at iteration {loop.iteration}")
    return state


def _diverged(problem: str) -> DivergedError:
    return DivergedError(Fault("lora.yaml", "learning_rate", problem, "lower it"))
