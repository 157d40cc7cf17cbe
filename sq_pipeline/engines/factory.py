"""The door to the engines: what the outer layers call to get a trainer, a renderer, a token counter, a weights' hash.

Cheap to import: mlx and mflux come in only when an engine is made. Not here: what the engines do.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.adapters.inspect.loader_verdicts import LoaderAnswer
from sq_pipeline.base_models.base_models import Dtype, resolve_base_model
from sq_pipeline.base_models.files import base_model_folder
from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import Fault, SqPipelineError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import machine
from sq_pipeline.engines.kernel_folder import take_kernel_folder
from sq_pipeline.engines.mflux import token_counters
from sq_pipeline.engines.trainers.mlx import support as mlx_support
from sq_pipeline.engines.trainers.mlx_examples import support as mlx_examples_support
from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout, program_faults
from sq_pipeline.engines.trainers.mlx_examples.recipe import check_recipe
from sq_pipeline.engines.versions import describe_mflux_train, describe_trainer
from sq_pipeline.pictures.ports import WatchedRenderer
from sq_pipeline.settings import load_settings
from sq_pipeline.training.plan import TrainingPlan
from sq_pipeline.training.ports import Trainer, ValidationMeter
from sq_pipeline.training.recipe import TrainerName
from sq_pipeline.training.support import unsupported_faults
from sq_pipeline.verification.ports import FidelityMeter, LossMeter

_ENOUGH = 2**62  # bytes


@dataclass(frozen=True)
class _TrainerDoor:
    """How one trainer is made, and its versions without making it. An engine is imported only when it is made.

    `check`: what it refuses of a plan, before it reads the dataset; and what a person has to allow first.
    """

    make: Callable[[DataDir], Trainer]
    versions: Callable[[DataDir], Mapping[str, str]]
    check: Callable[[DataDir, TrainingPlan], Iterable[Fault]]


def _make_mlx(data: DataDir) -> Trainer:
    from sq_pipeline.engines.trainers.mlx.trainer import MlxLoraTrainer

    return MlxLoraTrainer(data)


def _make_mlx_examples(data: DataDir) -> Trainer:
    from sq_pipeline.engines.trainers.mlx_examples.trainer import MlxExamplesTrainer

    return MlxExamplesTrainer(data)


def _make_mflux_train(data: DataDir) -> Trainer:
    from sq_pipeline.engines.trainers.mflux_train.trainer import MfluxTrainTrainer

    return MfluxTrainTrainer(data)


def _check_mlx(_data: DataDir, plan: TrainingPlan) -> Iterator[Fault]:
    yield from unsupported_faults(plan.recipe, mlx_support.SUPPORT)
    fault = mlx_support.family_fault(plan.base_model)
    if fault is not None:
        yield fault
        return
    try:
        # over tiny-flux everything fits, and MLX need not be asked
        is_tiny = plan.base_model.name == "tiny-flux"
        plan.settings(_ENOUGH, "float32") if is_tiny else plan.settings(usable_memory_bytes(), computing_dtype())
    except TrainingError as error:
        yield from error.faults


def _check_mlx_examples(data: DataDir, plan: TrainingPlan) -> Iterator[Fault]:
    yield from unsupported_faults(plan.recipe, mlx_examples_support.SUPPORT)
    yield from check_recipe(plan.recipe, plan.base_model, len(plan.trained))
    with suppress(SqPipelineError):  # what is wrong with the checkout is told by its versions
        yield from program_faults(open_checkout(data), data)


def _check_mflux_train(_data: DataDir, plan: TrainingPlan) -> Iterator[Fault]:
    from sq_pipeline.engines.trainers.mflux_train.config import check_plan

    return check_plan(plan)


TRAINERS: Mapping[TrainerName, _TrainerDoor] = {
    # no name: what was trained before trainers had one stays as it is
    "mlx": _TrainerDoor(_make_mlx, lambda _: describe_trainer().versions, _check_mlx),
    "mlx-examples": _TrainerDoor(_make_mlx_examples, lambda data: open_checkout(data).versions(), _check_mlx_examples),
    "mflux-train": _TrainerDoor(
        _make_mflux_train, lambda _: {"name": "mflux-train", **describe_mflux_train().versions}, _check_mflux_train
    ),
}


def trainer_versions(data: DataDir, name: TrainerName = "mlx") -> Mapping[str, str]:
    """What of a trainer decides what an adapter becomes; loads nothing, and is cheap enough for every look.

    Raises TrainingError or ContentError where a trainer of the user's own is not there.
    """
    return _door_of(name).versions(data)


def _door_of(name: TrainerName) -> _TrainerDoor:
    door = TRAINERS.get(name)
    if door is None:
        raise TrainingError(Fault("", "trainer", f"there is no trainer {name} here", "use `trainer: mlx`"))
    return door


def trainer(data: DataDir, name: TrainerName = "mlx") -> Trainer:
    """The trainer of that name over the base models of this data directory; loads nothing yet.

    Raises TrainingError for a trainer that is not there.
    """
    take_kernel_folder()
    return _door_of(name).make(data)


def training_faults(data: DataDir, name: TrainerName, plan: TrainingPlan) -> list[Fault]:
    """What the trainer of that name would refuse of a plan; raises TrainingError for a trainer that is not there."""
    return list(_door_of(name).check(data, plan))


def validation_meter(data: DataDir) -> ValidationMeter:
    """The meter of validation losses over the base models of this data directory; loads nothing yet."""
    from sq_pipeline.engines.trainers.mlx.validation_loss import MlxValidationMeter

    take_kernel_folder()
    return MlxValidationMeter(data)


def loss_meter(data: DataDir) -> LossMeter:
    """The meter of losses over the base models of this data directory; loads nothing yet."""
    from sq_pipeline.engines.trainers.mlx.validation_loss import MlxValidationMeter

    take_kernel_folder()
    return MlxValidationMeter(data)


def usable_memory_bytes() -> int:
    """How much memory MLX may use on this machine, bytes."""
    from sq_pipeline.engines.device_memory import usable_bytes

    return usable_bytes()


def computing_dtype() -> Dtype:
    """What this machine trains wide models in."""
    from sq_pipeline.engines import device_memory

    return device_memory.computing_dtype()


def renderer(data: DataDir) -> WatchedRenderer:
    """The mflux renderer over the base models of this data directory; loads nothing yet. Raises ContentError.

    Stacks of adapters stay ready in as much memory as `sq.yaml` says, otherwise in a sixteenth of the machine's.
    """
    from sq_pipeline.engines.mflux.renderer import MfluxRenderer

    take_kernel_folder()
    ready_mib = load_settings(data).ready_stacks_mib
    return MfluxRenderer(data, machine.memory_bytes() // 16 if ready_mib is None else ready_mib << 20)


def fidelity_meter(data: DataDir) -> FidelityMeter:
    """The meter of what mflux's loader applies; loads nothing yet."""
    from sq_pipeline.engines.mflux.fidelity import MfluxFidelityMeter

    take_kernel_folder()
    return MfluxFidelityMeter(data)


def token_counter(base_model_name: str, data: DataDir) -> TokenCounter:
    """A counter over the base model's own tokenizers; raises BaseModelError when they are not on this machine."""
    base_model = resolve_base_model(base_model_name)
    return token_counters.open_counter(base_model, base_model_folder(base_model, data))


def ask_mflux(path: Path, names: Sequence[str]) -> Sequence[LoaderAnswer]:
    """What mflux's own loader, as installed, makes of an adapter file: for every family that it has, the best first."""
    from sq_pipeline.engines.mflux import loader_answers

    return loader_answers.ask_mflux(path, names)
