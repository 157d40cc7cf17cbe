"""What every trainer promises about its checkpoints, the fake one too: the tests of `training` stand on it."""

from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.training.ports import CheckpointPlace, Trainer, TrainingExample, TrainProgress, TrainResult
from sq_pipeline_tests.engines.trainers.mlx.training_process import request_for
from sq_pipeline_tests.fakes import FakeTrainer


@pytest.fixture(params=["fake", "mlx"])
def trainer(request: pytest.FixtureRequest, shipped: DataDir) -> Trainer:
    return FakeTrainer() if request.param == "fake" else factory.trainer(shipped)


def _until(iteration: int):
    def on_progress(progress: TrainProgress) -> None:
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return on_progress


def test_a_training_is_continued_and_another_is_not(
    trainer: Trainer, examples: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    pictures = examples[0].image_path.parent
    alone = request_for(pictures, tmp_path / "alone.safetensors", None)
    asked = request_for(pictures, tmp_path / "a.safetensors", tmp_path / "checkpoints")
    wanted = trainer.train(alone, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(asked, _until(8))
    told: list[TrainProgress] = []
    assert asked.checkpoints is not None
    other = replace(asked, checkpoints=CheckpointPlace(tmp_path / "other", "sha256:other"))
    asked.checkpoints.folder.rename(tmp_path / "other")
    assert trainer.train(other, _until(0)).resumed_at == ()
    with pytest.raises(KeyboardInterrupt):
        trainer.train(asked, _until(8))
    result: TrainResult = trainer.train(asked, told.append)
    assert result.resumed_at == (6,)
    assert result.losses == wanted.losses
    assert told[0].iteration == 7
    assert asked.output_path.read_bytes() == alone.output_path.read_bytes()
