"""A training that diverged is told, not continued, and not begun again until something of it is another."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.errors import DivergedError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.training_ahead import AheadTrainer
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.adapters.train_ahead import train_ahead
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.training import checkpoint_folders
from sq_pipeline.training.checkpoint_folders import divergence_of, last_checkpoint, note_divergence
from sq_pipeline.training.ports import TrainProgress, TrainRequest, TrainResult
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.cases import recipes

KEY = "west/west_landscape"


class Diverges:
    """A trainer that leaves a checkpoint and diverges."""

    support = factory.mlx_support.SUPPORT

    def __init__(self) -> None:
        self.trainings = 0

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        self.trainings += 1
        on_progress(TrainProgress(1, request.recipe.iterations, 0.5, 1.0))
        assert request.checkpoints is not None
        request.checkpoints.folder.mkdir(parents=True, exist_ok=True)
        (request.checkpoints.folder / "0000015.safetensors").touch()
        fault = Fault("lora.yaml", "learning_rate", "the loss diverged: about 2, at iteration 20", "lower it")
        raise DivergedError(fault)


@pytest.fixture
def folder(tmp_path: Path, shipped: DataDir) -> Path:
    return recipes.build_case("rate-diverges", tmp_path, shipped.root)


def context_of(root: Path, trainer: Diverges, chip: str = "this") -> Context:
    data = DataDir(root)
    engines = replace(real_engines(data), trainer=lambda _name: trainer, chip=chip, training_ahead=None)
    return Context(data, engines)


def training(context: Context) -> Step:
    return adapter_steps_of(context, context.catalog.adapters[KEY])["mlx_adapter"]


def test_a_diverged_training_is_not_begun_again(tmp_path: Path, folder: Path) -> None:
    trainer = Diverges()
    context = context_of(tmp_path, trainer)
    adapter = context.catalog.adapters[KEY]
    make_adapter_asset(context, adapter, "training_dataset")
    assert training(context).status == "stale"
    with pytest.raises(DivergedError):
        make_adapter_asset(context, adapter, "mlx_adapter")

    later = context_of(tmp_path, trainer)
    step = training(later)
    assert step.status == "blocked"  # which a night does not start, nor a run
    (reason,) = step.reasons
    assert reason.startswith("content/lora-datasets/west/landscape/lora.yaml: learning_rate: the training diverged: ")
    assert reason.endswith("at iteration 20; lower it")
    assert "goes on after" not in reason
    assert last_checkpoint(later.data, step.fingerprint) == 15

    # another machine's arithmetic may stay within bounds, and goes on; a lower rate is another training
    assert training(context_of(tmp_path, trainer, "another")).reasons[-1].startswith("goes on after iteration 15")
    recipe = (folder / "lora.yaml").read_text()
    (folder / "lora.yaml").write_text(recipe.replace("learning_rate: 0.9", "learning_rate: 0.001"))
    lowered = context_of(tmp_path, trainer)
    make_adapter_asset(lowered, lowered.catalog.adapters[KEY], "training_dataset")
    assert training(lowered).status == "stale"
    (folder / "lora.yaml").write_text(recipe)
    assert training(context_of(tmp_path, trainer)).status == "blocked"
    assert trainer.trainings == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"chip": "this"}), None])
def test_a_damaged_note_of_it_is_none(tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    data, fault = DataDir(tmp_path), Fault("lora.yaml", "learning_rate", "it diverged", "lower it")
    note_divergence(data, "sha256:ab", "this", fault)
    assert divergence_of(data, "sha256:ab", "this", "x/lora.yaml") == replace(
        fault, file="x/lora.yaml", problem="the training diverged: it diverged"
    )
    with monkeypatch.context() as patch:  # at other rates it may stay within bounds
        patch.setattr(checkpoint_folders, "SCHEDULE_REVISION", 3)
        assert divergence_of(data, "sha256:ab", "this", "x/lora.yaml") is None
    (note,) = data.checkpoint_folder("sha256:ab").iterdir()
    if content is None:
        note.unlink()
    else:
        note.write_text(content)
    assert divergence_of(data, "sha256:ab", "this", "x/lora.yaml") is None


def test_one_that_diverges_in_a_process_of_its_own_is_not_gone_on_with(tmp_path: Path, folder: Path) -> None:
    trainer = Diverges()
    context = context_of(tmp_path, trainer)
    adapter = context.catalog.adapters[KEY]
    make_adapter_asset(context, adapter, "training_dataset")
    step = training(context)

    class Ends:
        """The other process: it trains while this one waits for its end."""

        def await_end(self, fingerprint: str) -> None:
            assert train_ahead(context, adapter, fingerprint)

    here = replace(context.engines, trainer=lambda _name: AheadTrainer(Described(), Ends()))  # pyright: ignore[reportArgumentType]
    waiting = Context(context.data, here)
    with pytest.raises(DivergedError, match="learning_rate: the training diverged: the loss diverged: about 2"):
        make_adapter_asset(waiting, waiting.catalog.adapters[KEY], "mlx_adapter")
    assert trainer.trainings == 1
    (reason,) = training(context_of(tmp_path, trainer)).reasons
    assert reason.count("the training diverged: ") == 1
    assert step.status == "stale"


class Described(Diverges):
    """The trainer of the process that waits, which is not to train."""

    def describe(self) -> EngineDescription:
        return EngineDescription("mlx-lora", {}, "this")

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        raise AssertionError("it is gone on with")
