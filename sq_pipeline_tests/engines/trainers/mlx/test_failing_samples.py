"""A sample that cannot be made is a warning: the checkpoint of its iteration is there, the adapter is the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.tiny_flux.encoders import TinyEncoders
from sq_pipeline.engines.trainers.mlx import samples
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.engines.conftest import RECIPE

pytestmark = pytest.mark.takes(s=20)

SMALL = RECIPE.model_copy(
    update={
        "iterations": 4,
        "batch_size": 1,
        "resolution": (32, 32),
        "checkpoint_interval": 2,
        "sample_interval": 2,
        "kept_checkpoints": 1,
        "held_out_pairs": 0,
        "num_augmentations": 1,
    }
)
Train = Callable[[Path, Recipe, tuple[str, ...]], tuple[TrainResult, list[TrainProgress]]]


@pytest.fixture
def train(shipped: DataDir, examples: tuple[TrainingExample, ...]) -> Train:
    def run(folder: Path, recipe: Recipe, prompts: tuple[str, ...]) -> tuple[TrainResult, list[TrainProgress]]:
        told: list[TrainProgress] = []
        place = CheckpointPlace(folder / "checkpoints", "sha256:this")
        request = TrainRequest("tiny-flux", examples[:4], recipe, folder / "a.safetensors", place, prompts)
        return factory.trainer(shipped).train(request, told.append), told

    return run


@pytest.fixture(scope="module")
def without_samples(shipped: DataDir, examples: tuple[TrainingExample, ...], tmp_path_factory) -> bytes:
    request = TrainRequest("tiny-flux", examples[:4], SMALL, tmp_path_factory.mktemp("plain") / "a.safetensors")
    factory.trainer(shipped).train(request, lambda _: None)
    return request.output_path.read_bytes()


def fail(patch: pytest.MonkeyPatch, owner: object, name: str, error: Exception, times: list[int]) -> None:
    """Let the calls with these numbers fail, counted from 0."""
    real, calls = getattr(owner, name), iter(range(1000))

    def failing(*arguments: object, **named: object) -> object:
        if next(calls) in times:
            raise error
        return real(*arguments, **named)

    patch.setattr(owner, name, failing)


NO_BUFFER = "[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum allowed buffer size"
FULL = disk_error(Path("sample.png"), OSError(28, "No space left on device"))


@pytest.mark.parametrize(
    ("owner", "name", "error", "times", "drawn", "told"),
    [
        (TinyEncoders, "decode", MemoryError(), [1], [0, 4], "after iteration 2 (memory ran out)"),
        (TinyEncoders, "decode", MemoryError(), [0, 1, 2], [], "after iteration 0 (memory ran out)"),
        (TinyEncoders, "decode", RuntimeError(NO_BUFFER), [2], [0, 2], f"after iteration 4 ({NO_BUFFER})"),
        (samples, "sample_tokens", RuntimeError("[METAL] one\ntwo"), [0], [2, 4], "after iteration 0 ([METAL] one)"),
        (samples.SampleStrips, "draw", FULL, [1], [0, 4], "the disk is full"),
        (samples.Image, "fromarray", OSError("encoder error"), [1], [0, 4], "after iteration 2 (encoder error)"),
    ],
)
def test_a_sample_that_fails_is_a_warning(
    owner: object,
    name: str,
    error: Exception,
    times: list[int],
    drawn: list[int],
    told: str,
    train: Train,
    without_samples: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(monkeypatch, owner, name, error, times)
    result, progress = train(tmp_path, SMALL, ("a church",))
    assert [at for at, _ in result.samples] == drawn
    assert [step.iteration for step in progress] == [1, 2, 3, 4]
    assert (tmp_path / "a.safetensors").read_bytes() == without_samples
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == len(times)
    assert told in warnings[0]
    assert (tmp_path / "checkpoints/0000002.safetensors").is_file()
    assert not list((tmp_path / "checkpoints").glob("*drawing*"))


class Ended(BaseException):
    """In place of a signal: nothing catches it on its way."""


@pytest.mark.parametrize(("at", "drawn"), [(0, [2, 4]), (1, [0, 4])])
def test_a_process_that_ends_while_it_draws_has_its_checkpoint_and_does_not_end_so_again(
    at: int,
    drawn: list[int],
    train: Train,
    without_samples: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, TinyEncoders, "decode", Ended(), [at])  # type: ignore[arg-type]
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a process that is gone tidies nothing
        with pytest.raises(Ended):
            train(tmp_path, SMALL, ("a church",))
    assert (tmp_path / "checkpoints/0000002.safetensors").is_file() == (at == 1)
    result, _ = train(tmp_path, SMALL, ("a church",))
    assert result.resumed_at == ((2,) if at else ())
    assert [iteration for iteration, _ in result.samples] == drawn
    assert (tmp_path / "a.safetensors").read_bytes() == without_samples
