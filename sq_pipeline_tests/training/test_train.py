"""Training with a fake trainer: the request, progress in log and bar, the loss curve, interruptions."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.training.dataset import TrainingDataset
from sq_pipeline.training.ports import TrainProgress
from sq_pipeline.training.train import both, draw_loss_curve, train_adapter
from sq_pipeline_tests.builders import STYLE_RECIPE, check, names_below, write_dataset
from sq_pipeline_tests.fakes import FakeTrainer


@pytest.fixture
def dataset(tmp_path: Path) -> TrainingDataset:
    return check(write_dataset(tmp_path / "set", recipe=f"{STYLE_RECIPE}iterations: 40\nrank: 2\n"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "final_adapters.safetensors"


def _ignore(_progress: TrainProgress) -> None:
    pass


def test_the_trainer_is_asked_for_this_dataset_and_recipe(dataset: TrainingDataset, output: Path) -> None:
    trainer = FakeTrainer()
    result = train_adapter(dataset, trainer, output, _ignore)
    (request,) = trainer.requests
    assert request.base_model == "tiny-flux"
    assert request.examples == dataset.examples()
    assert request.recipe is dataset.recipe
    assert request.output_path == output
    assert len(result.losses) == 40
    assert result.tensors == len(open_safetensors(output).tensors)


def test_the_fake_trainer_is_settled_by_seed_and_captions(dataset: TrainingDataset, tmp_path: Path) -> None:
    versions: list[str] = []
    for number, seed in enumerate((0, 0, 1)):
        path = tmp_path / f"{number}.safetensors"
        recipe = dataset.recipe.model_copy(update={"seed": seed})
        changed = TrainingDataset(dataset.folder, dataset.name, recipe, dataset.base_model, dataset.images, ())
        train_adapter(changed, FakeTrainer(), path, _ignore)
        versions.append(tensors_data_version(path))
    assert versions[0] == versions[1] != versions[2]


def test_both_are_told_in_order() -> None:
    told: list[str] = []
    on_progress = both(lambda p: told.append(f"first {p.iteration}"), lambda p: told.append(f"second {p.iteration}"))
    on_progress(TrainProgress(1, 2, 0.5, 1.0))
    assert told == ["first 1", "second 1"]


# --- the loss curve


def _open(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("losses", [[0.5], [0.5, 0.4], [1 / n for n in range(1, 200)]], ids=["one", "two", "many"])
def test_the_loss_curve_is_a_picture(losses: list[float]) -> None:
    pixels = _open(draw_loss_curve(losses, "western/land"))
    assert pixels.shape == (280, 500, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10


def test_the_loss_curve_follows_the_losses() -> None:
    falling, rising = ([n / 50 for n in order] for order in (range(50, 0, -1), range(1, 51)))
    assert draw_loss_curve(falling, "a") == draw_loss_curve(falling, "a")
    assert (_open(draw_loss_curve(falling, "a")) != _open(draw_loss_curve(rising, "a"))).any()


# --- what does not finish


def _stop(progress: TrainProgress) -> None:
    if progress.iteration == 7:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("trainer", "on_progress", "error"),
    [
        (FakeTrainer(interrupt_at=5), _ignore, KeyboardInterrupt),
        (FakeTrainer(interrupt_while_writing=True), _ignore, KeyboardInterrupt),
        (FakeTrainer(), _stop, KeyboardInterrupt),
        (FakeTrainer(fail_at=5), _ignore, TrainingError),
    ],
    ids=["in the loop", "while writing", "in the callback", "loss not finite"],
)
@pytest.mark.parametrize("has_old", [False, True])
def test_nothing_is_left_at_the_output_path(
    dataset: TrainingDataset,
    output: Path,
    trainer: FakeTrainer,
    on_progress,
    error: type[BaseException],
    has_old: bool,
) -> None:
    if has_old:
        output.parent.mkdir()
        output.write_bytes(b"old")
    with pytest.raises(error):
        train_adapter(dataset, trainer, output, on_progress)
    assert names_below(output.parent) == ([output.name] if has_old else [])
    if has_old:
        assert output.read_bytes() == b"old"
