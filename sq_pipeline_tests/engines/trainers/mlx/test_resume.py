"""A training that was cut off goes on as the same training: the same bytes, whatever cut it off, wherever."""

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx
import pytest

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.common.errors import DivergedError, StorageError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory, machine, versions
from sq_pipeline.engines.trainers.mlx import trainer
from sq_pipeline.engines.trainers.mlx.loop import TrainingLoop
from sq_pipeline.engines.trainers.mlx.lora_layers import LoRALinear
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainProgress, TrainRequest, TrainResult
from sq_pipeline_tests.engines.trainers.mlx.training_process import RECIPE, request_for
from sq_pipeline_tests.parts import rest_is_long

pytestmark = pytest.mark.takes(s=50)

INTERVAL, ITERATIONS = RECIPE.checkpoint_interval, RECIPE.iterations


class Undisturbed(NamedTuple):
    adapter: bytes
    losses: tuple[float, ...]


@pytest.fixture(scope="module")
def pictures(examples: tuple[TrainingExample, ...]) -> Path:
    return examples[0].image_path.parent


@pytest.fixture(scope="module")
def undisturbed(shipped: DataDir, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What the training gives that nothing disturbs, and that keeps no checkpoints either."""
    output = tmp_path_factory.mktemp("undisturbed") / "a.safetensors"
    result = factory.trainer(shipped).train(request_for(pictures, output, None), lambda _: None)
    assert result.resumed_at == ()
    return Undisturbed(output.read_bytes(), result.losses)


@pytest.fixture
def request_(pictures: Path, tmp_path: Path) -> TrainRequest:
    return request_for(pictures, tmp_path / "a.safetensors", tmp_path / "checkpoints")


@pytest.fixture
def train(shipped: DataDir) -> Callable[..., TrainResult]:
    """Train; interrupted with Ctrl-C when iteration `until` is done."""

    def run(request: TrainRequest, until: int | None = None) -> TrainResult:
        def on_progress(progress: TrainProgress) -> None:
            if progress.iteration == until:
                raise KeyboardInterrupt

        return factory.trainer(shipped).train(request, on_progress)

    return run


def names(request: TrainRequest) -> list[str]:
    assert request.checkpoints is not None
    found = sorted(path.name for path in request.checkpoints.folder.glob("*"))
    return [name for name in found if name[0].isdigit() or name.startswith(".")]


def newest(request: TrainRequest) -> Path:
    assert request.checkpoints is not None
    return request.checkpoints.folder / names(request)[-1]


def interrupt(train: Callable[..., TrainResult], request: TrainRequest, until: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(request, until)
    assert not request.output_path.exists()


def assert_same(result: TrainResult, request: TrainRequest, wanted: Undisturbed, *resumed_at: int) -> None:
    assert result.resumed_at == resumed_at
    assert result.losses == wanted.losses
    assert request.output_path.read_bytes() == wanted.adapter


# before the first checkpoint, between two and at one, at the end; the others in the thorough part
MOMENTS = [pytest.param(at, marks=() if at in (1, 5, 6, 12) else pytest.mark.long) for at in range(1, ITERATIONS + 1)]


@pytest.mark.parametrize("until", MOMENTS)
def test_interrupted_anywhere_the_adapter_is_the_same(until, train, request_, undisturbed) -> None:
    interrupt(train, request_, until)
    last = (until - 1) // INTERVAL * INTERVAL  # Ctrl-C comes before that iteration's own checkpoint
    assert_same(train(request_), request_, undisturbed, *([last] if last else []))


def test_interrupted_again_and_again(train, request_, undisturbed) -> None:
    for until in (3, 5, 6, 9, 10, 12):
        interrupt(train, request_, until)
    assert_same(train(request_), request_, undisturbed, 2, 4, 8, 10)  # the seams of what is in the adapter


def test_the_last_two_checkpoints_are_kept_and_hold_the_gradients_between_steps(train, request_) -> None:
    interrupt(train, request_, 11)
    assert names(request_) == ["0000008.safetensors", "0000010.safetensors"]
    held = {name.partition(".")[0] for name in open_safetensors(newest(request_)).tensors}
    assert held == {"adapter", "gathered", "losses", "optimizer", "order", "random"}


def test_progress_goes_on_with_the_time_of_before(shipped: DataDir, train, request_) -> None:
    told: list[TrainProgress] = []
    interrupt(train, request_, 5)
    result = factory.trainer(shipped).train(request_, told.append)
    assert [progress.iteration for progress in told] == list(range(5, ITERATIONS + 1))
    assert told[0].elapsed_s > (told[-1].elapsed_s - told[0].elapsed_s) / ITERATIONS
    assert result.wall_s > told[-1].elapsed_s


def test_what_another_process_trained_to_its_end_is_taken_up(shipped: DataDir, train, request_, undisturbed) -> None:
    """The same bytes, nothing trained again, nothing said of a resume; the end is told once."""
    assert request_.checkpoints is not None
    ahead = replace(request_, checkpoints=replace(request_.checkpoints, keeps_end=True))
    train(ahead)
    assert newest(request_).name == f"{ITERATIONS:07d}.safetensors"
    request_.output_path.unlink()
    told: list[TrainProgress] = []
    result = factory.trainer(shipped).train(request_, told.append)
    assert_same(result, request_, undisturbed)
    (end,) = told
    assert (end.iteration, end.loss) == (ITERATIONS, undisturbed.losses[-1])
    assert len(result.kept) == RECIPE.kept_checkpoints


@pytest.mark.long
@pytest.mark.parametrize(("iterations", "kills"), [(12, 3), (64, 20)])
def test_many_kills_in_one_training(
    iterations: int, kills: int, shipped: DataDir, pictures: Path, tmp_path: Path
) -> None:
    """SIGKILL after a random iteration, a random moment later: at most one interval is done again, the bytes stay."""
    chance = random.Random(20)
    longer = RECIPE.model_copy(update={"iterations": iterations})
    wanted = request_for(pictures, tmp_path / "wanted.safetensors", None, longer)
    factory.trainer(shipped).train(wanted, lambda _: None)
    output, checkpoints = tmp_path / "a.safetensors", tmp_path / "checkpoints"
    module = "sq_pipeline_tests.engines.trainers.mlx.training_process"
    command = [sys.executable, "-m", module, str(pictures), str(output), str(checkpoints), str(iterations)]
    done, killed = 0, 0
    while True:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert done - INTERVAL < first <= done + 1, (first, done)
            done = first
            if killed < kills:
                for _ in range(chance.randint(0, 3)):
                    done = int(process.stdout.readline())
                time.sleep(chance.uniform(0, 0.06))
                process.send_signal(signal.SIGKILL)
            done = max(done, *map(int, process.stdout.read().split()), 0)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert not output.exists()
        killed += 1
    assert killed == kills
    assert output.read_bytes() == wanted.output_path.read_bytes()


def test_what_a_killed_writer_left_is_removed(train, request_, undisturbed) -> None:
    interrupt(train, request_, 5)
    part = newest(request_).with_name(".0000004.abc.part.safetensors")
    part.write_bytes(newest(request_).read_bytes()[:1000])
    interrupt(train, request_, 5)
    assert not part.exists()
    assert_same(train(request_), request_, undisturbed, 4)


# --- what is never continued


def other_identity(request: TrainRequest, _patch: pytest.MonkeyPatch) -> TrainRequest:
    assert request.checkpoints is not None
    return replace(request, checkpoints=CheckpointPlace(request.checkpoints.folder, "sha256:other weights"))


def other_recipe(request: TrainRequest, _patch: pytest.MonkeyPatch) -> TrainRequest:
    return replace(request, recipe=request.recipe.model_copy(update={"learning_rate": 0.02}))


def fewer_iterations(request: TrainRequest, _patch: pytest.MonkeyPatch) -> TrainRequest:
    return replace(request, recipe=request.recipe.model_copy(update={"iterations": 6}))


def other_picture(request: TrainRequest, _patch: pytest.MonkeyPatch) -> TrainRequest:
    changed = replace(request.examples[0], image_path=request.examples[1].image_path)
    return replace(request, examples=(changed, *request.examples[1:]))


def other_caption(request: TrainRequest, _patch: pytest.MonkeyPatch) -> TrainRequest:
    return replace(request, examples=(replace(request.examples[0], caption="a mill"), *request.examples[1:]))


def other_trainer(request: TrainRequest, patch: pytest.MonkeyPatch) -> TrainRequest:
    patch.setattr(versions, "_TRAINER_REVISION", "other")
    return request


def other_chip(request: TrainRequest, patch: pytest.MonkeyPatch) -> TrainRequest:
    patch.setattr(machine, "chip_name", lambda: "another chip")
    return request


def other_schedule(request: TrainRequest, patch: pytest.MonkeyPatch) -> TrainRequest:
    patch.setattr(trainer, "SCHEDULE_REVISION", 3)
    return request


SETTLES_NOTHING_HERE = [other_identity, other_trainer, other_chip, other_schedule]
OTHERS = [*SETTLES_NOTHING_HERE, other_recipe, fewer_iterations, other_picture, other_caption]


@pytest.mark.parametrize(
    "change",
    rest_is_long(
        OTHERS, "other_recipe", "other_caption", "other_chip", "other_schedule", name=lambda case: case.__name__
    ),
)
def test_another_training_starts_from_nothing(
    change, train, request_, undisturbed, tmp_path, monkeypatch, caplog
) -> None:
    interrupt(train, request_, 6)
    changed = change(request_, monkeypatch)
    result = train(changed)
    assert "checkpoint 0000004.safetensors is passed over: it is of another training" in caplog.text
    if change in SETTLES_NOTHING_HERE:
        assert_same(result, changed, undisturbed)
    else:
        assert result.resumed_at == ()
        alone = replace(changed, output_path=tmp_path / "alone.safetensors", checkpoints=None)
        train(alone)
        assert changed.output_path.read_bytes() == alone.output_path.read_bytes()


@pytest.mark.parametrize("change", [{"checkpoint_interval": 3}, {"min_pairs": 1}, {"kind": "subject"}], ids=str)
def test_what_changes_nothing_is_continued(change, train, request_, undisturbed) -> None:
    interrupt(train, request_, 6)
    changed = replace(request_, recipe=request_.recipe.model_copy(update=change))
    assert_same(train(changed), changed, undisturbed, 4)


# --- damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)


def rename(path: Path) -> None:
    path.rename(path.with_name("0000008.safetensors"))


def no_position(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"position"', b'"positiom"', 1))


def not_ours(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(1000))


DAMAGES = [cut, cut_in_the_header, empty, flip_a_bit, rename, no_position, not_ours]


@pytest.mark.parametrize(
    "damage", rest_is_long(DAMAGES, "cut", "flip_a_bit", "not_ours", name=lambda case: case.__name__)
)
def test_a_damaged_checkpoint_is_passed_over_and_the_older_one_used(
    damage, train, request_, undisturbed, caplog
) -> None:
    interrupt(train, request_, 7)
    damage(newest(request_))
    passed_over = names(request_)[-1]
    with caplog.at_level(logging.WARNING):
        result = train(request_)
    assert f"checkpoint {passed_over} is passed over: " in caplog.text
    assert_same(result, request_, undisturbed, 4)


def test_without_a_whole_checkpoint_it_starts_anew(train, request_, undisturbed) -> None:
    interrupt(train, request_, 7)
    for name in names(request_):
        cut(newest(request_).with_name(name))
    assert_same(train(request_), request_, undisturbed)
    assert names(request_) == ["0000008.safetensors", "0000010.safetensors"]


# --- a full disk


@pytest.mark.parametrize(
    ("writes", "kept"),
    [(0, None), (2, 2), *(pytest.param(*at, marks=pytest.mark.long) for at in ((1, None), (3, 2), (5, 6)))],
)
def test_a_full_disk_stops_with_the_last_checkpoint(writes, kept, train, request_, undisturbed, monkeypatch) -> None:
    flush, done = os.fsync, [0]

    def refuse(handle: int) -> None:
        done[0] += 1
        if done[0] > writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    says = "nothing was kept" if kept is None else f"the training goes on after iteration {kept}"
    with pytest.raises(StorageError, match=f"the disk is full; free some space and run again; {says}$"):
        train(request_)
    assert all(name.endswith(".safetensors") and name[0] == "0" for name in names(request_))
    assert len(names(request_)) == (0 if kept is None else min(kept // INTERVAL, 2))
    assert not request_.output_path.exists()
    monkeypatch.undo()
    assert_same(train(request_), request_, undisturbed, *([] if kept is None else [kept]))


# --- losses that make no sense


@pytest.mark.parametrize(
    ("poisoned_after", "says"),
    [
        (5, "the loss became nan at iteration 6"),
        (6, "the adapter's numbers became nan or inf at iteration 6"),
        (12, "the adapter's numbers became nan or inf at iteration 12"),
    ],
)
def test_nan_stops_with_the_last_good_checkpoint(
    poisoned_after, says, train, request_, undisturbed, monkeypatch
) -> None:
    advance = TrainingLoop.advance

    def poison(self: TrainingLoop) -> float:
        loss = advance(self)
        if self.iteration == poisoned_after:
            layer = self._network.single_blocks[0].linear1
            assert isinstance(layer, LoRALinear)
            layer.lora_b = mx.full(layer.lora_b.shape, float("nan"))
        return loss

    monkeypatch.setattr(TrainingLoop, "advance", poison)
    good = poisoned_after - 1 if poisoned_after == 5 else poisoned_after - 2
    with pytest.raises(DivergedError, match=f"learning_rate: {says}; lower it"):
        train(request_)
    assert not request_.output_path.exists()
    assert newest(request_).stem == f"{good:07d}"
    monkeypatch.undo()
    assert_same(train(request_), request_, undisturbed, good)


def test_a_loss_that_diverges_stops_the_training(train, request_) -> None:
    wild = replace(
        request_, recipe=request_.recipe.model_copy(update={"learning_rate": 0.9, "iterations": 60, "warmup_steps": 1})
    )
    with pytest.raises(DivergedError, match=r"learning_rate: the loss diverged: .* at iteration 20; lower it"):
        train(wild)
    assert not wild.output_path.exists()
    assert newest(wild).stem < "0000012"  # one from before, not the last interval's


def test_a_checkpoint_from_within_a_divergence_is_not_kept(train, request_, monkeypatch) -> None:
    """One low loss among high ones is a moment for a checkpoint, until the median says what it was."""
    losses = [0.5] * 15 + [9.0] * 4 + [0.5] * 3 + [9.0] * 30
    advance = TrainingLoop.advance

    def told(self: TrainingLoop) -> float:
        if self.iteration == 0:
            advance(self)
        else:
            self.iteration += 1
        return losses[self.iteration - 1]

    monkeypatch.setattr(TrainingLoop, "advance", told)
    recipe = request_.recipe.model_copy(update={"iterations": 50, "checkpoint_interval": 1, "grad_accumulation": 1})
    with pytest.raises(DivergedError, match="at iteration 28"):
        train(replace(request_, recipe=recipe))
    assert newest(request_).stem == "0000015"
