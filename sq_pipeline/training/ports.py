"""What is asked of a trainer and of a meter of validation losses, and what they give back. Not here: any engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.training.plan import TrainingPlan, plan_training
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import TrainerSupport


@dataclass(frozen=True)
class TrainingExample:
    """One image file and its caption."""

    image_path: Path
    caption: str


@dataclass(frozen=True)
class CheckpointPlace:
    """Where a training leaves its checkpoints, kept adapters and samples, and what they are of.

    `identity` is a hash of everything that settles the result; what is of another identity is never continued.
    `keeps_end`: the state after the last iteration is left there too, so that whoever trains the same takes it up.
    """

    folder: Path
    identity: str
    keeps_end: bool = False


@dataclass(frozen=True)
class TrainRequest:
    """Everything a training depends on. `output_path` gets the MLX adapter, whole or not at all.

    With `checkpoints`, a training that was cut off is continued, adapters are kept to choose among, and
    `sample_prompts` are drawn at the recipe's intervals; who asked removes the folder when all of that is safe.
    """

    base_model: str
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    output_path: Path
    checkpoints: CheckpointPlace | None = None
    sample_prompts: tuple[str, ...] = ()

    @cached_property
    def plan(self) -> TrainingPlan:
        """What every trainer goes by; raises BaseModelError for a base model that is not known."""
        return _plan_of(self)


@dataclass(frozen=True)
class TrainProgress:
    """One finished iteration. `loss` is that iteration's (mean over its batch).

    `elapsed_s` counts what was trained before a resume too. `validation_loss` is there where it was just measured,
    `sample` (a PNG in the checkpoints' folder) where one was just drawn. None where a trainer does not know a thing.
    """

    iteration: int
    iterations: int
    loss: float
    elapsed_s: float
    memory_bytes: int | None = None
    validation_loss: float | None = None
    sample: Path | None = None

    @property
    def remaining_s(self) -> float:
        """Time left at the mean pace so far, seconds."""
        return self.elapsed_s / max(self.iteration, 1) * (self.iterations - self.iteration)

    @property
    def iterations_per_s(self) -> float:
        """The mean pace so far."""
        return self.iteration / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class KeptAdapter:
    """An adapter as it was after `iteration`, at `path` (in the checkpoints' folder, or the request's output)."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class TrainResult:
    """`losses` has one entry an iteration that the trainer told of; `tensors` counts what the adapter file holds.

    `resumed_at`: after which iterations the training was continued from a checkpoint. `wall_s` counts the earlier parts
    up to their checkpoints, `encode_s` and `peak_memory_bytes` are the last part's. `validation` and `samples` are by
    iteration, `kept` ends with the final adapter. `settings` are what was picked for this machine.
    """

    losses: tuple[float, ...]
    wall_s: float
    encode_s: float
    tensors: int
    peak_memory_bytes: int
    resumed_at: tuple[int, ...] = ()
    validation: tuple[tuple[int, float], ...] = ()
    kept: tuple[KeptAdapter, ...] = ()
    samples: tuple[tuple[int, Path], ...] = ()
    settings: Mapping[str, str | int | bool] = field(default_factory=dict[str, str | int | bool])


class Trainer(Protocol):
    """Trains one LoRA and writes the file that mlx-examples' FLUX.1 trainer writes."""

    @property
    def support(self) -> TrainerSupport:
        """What of a recipe it follows; `train` refuses the rest (`training.support`)."""
        ...

    def describe(self) -> EngineDescription: ...

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Train; raises TrainingError. KeyboardInterrupt passes through and leaves nothing at `output_path`.

        Continued from a checkpoint, it writes the bytes that it would have written undisturbed (on one machine).
        """
        ...


@dataclass(frozen=True)
class ValidationRequest:
    """Adapters to be compared by their loss on the pictures that a training held out, at fixed noise and times.

    `adapters` are MLX adapters as trained, each with a scale; the base model alone is always measured too.
    """

    base_model: str
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    adapters: tuple[AdapterUse, ...]

    @cached_property
    def plan(self) -> TrainingPlan:
        """The plan of the training that is measured; raises BaseModelError for a base model that is not known."""
        return _plan_of(self)


def _plan_of(request: TrainRequest | ValidationRequest) -> TrainingPlan:
    return plan_training(request.recipe, request.base_model, [example.caption for example in request.examples])


@dataclass(frozen=True)
class ValidationLosses:
    """`base` without any adapter; `losses` in the request's order. `pairs` is how many pictures were held out."""

    base: float
    losses: tuple[float, ...]
    pairs: int


class ValidationMeter(Protocol):
    """Measures the validation loss of adapters, whoever trained them."""

    def measure(self, request: ValidationRequest) -> ValidationLosses | None:
        """None where no picture is held out, or the base model's family has no such measure.

        Raises BaseModelError, AdapterError.
        """
        ...
