"""The MLX LoRA trainer: the file it writes, what it encodes, and that nothing half-made is left."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.trainers.mlx import loop, trainer
from sq_pipeline.engines.trainers.mlx.base import open_training_base
from sq_pipeline.engines.trainers.mlx.crops import plan_crops, plan_plain_crops
from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.plan import crops_of
from sq_pipeline.training.ports import TrainingExample, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.engines.conftest import RECIPE

Examples = tuple[TrainingExample, ...]


def train(data: DataDir, examples: Examples, output: Path, recipe: Recipe = RECIPE) -> TrainResult:
    return factory.trainer(data).train(TrainRequest("tiny-flux", examples, recipe, output), lambda progress: None)


def test_writes_the_file_of_mlx_examples(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    output = tmp_path / "final_adapters.safetensors"
    result = train(shipped, examples, output)
    with safe_open(output, "np") as file:
        keys = set(file.keys())
        assert file.metadata() == {"lora_rank": "4", "lora_blocks": "-1"}
        assert file.get_slice("double_blocks.1.img_attn.qkv.lora_a").get_shape() == [256, 4]
        assert file.get_slice("single_blocks.3.linear1.lora_b").get_shape() == [4, 7 * 256]
        assert all(file.get_slice(key).get_dtype() == "F32" for key in keys)
    assert len(keys) == result.tensors == BASE_MODELS["tiny-flux"].adapter_tensors == 64
    assert len(result.losses) == RECIPE.iterations
    assert result.peak_memory_bytes > 0
    assert all(map(math.isfinite, result.losses))


def test_learns(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    """Two dozen iterations over twelve pictures of a style lower the loss plainly."""
    losses = train(shipped, examples, tmp_path / "a.safetensors", RECIPE.model_copy(update={"iterations": 24})).losses
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_same_seed_same_bytes(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    first, second, other = (tmp_path / f"{name}.safetensors" for name in "abc")
    train(shipped, examples, first)
    train(shipped, examples, second)
    train(shipped, examples, other, RECIPE.model_copy(update={"seed": 1}))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_images_and_distinct_captions_are_encoded_once(
    shipped: DataDir, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sq_pipeline.engines.tiny_flux.text import TinyT5
    from sq_pipeline.engines.tiny_flux.vae import TinyVAE

    seen: dict[str, int] = {"pictures": 0, "captions": 0}
    encode, read = TinyVAE.encode, TinyT5.__call__

    def count_pictures(self, image):
        seen["pictures"] += image.shape[0]
        return encode(self, image)

    def count_captions(self, input_ids):
        seen["captions"] += input_ids.shape[0]
        return read(self, input_ids)

    monkeypatch.setattr(TinyVAE, "encode", count_pictures)
    monkeypatch.setattr(TinyT5, "__call__", count_captions)
    train(shipped, examples, tmp_path / "a.safetensors")
    assert seen == {"pictures": len(examples), "captions": 2}  # read by T5 and by CLIP, once each


def test_progress_tells_loss_and_time_left(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    told: list[TrainProgress] = []
    request = TrainRequest("tiny-flux", examples, RECIPE, tmp_path / "a.safetensors")
    result = factory.trainer(shipped).train(request, told.append)
    assert [progress.iteration for progress in told] == list(range(1, RECIPE.iterations + 1))
    assert tuple(progress.loss for progress in told) == result.losses
    assert told[-1].remaining_s == 0
    assert told[0].remaining_s > 0


def test_gradient_accumulation_equals_the_larger_batch(shipped: DataDir, examples: Examples) -> None:
    """Two halves of four make the step of one batch of eight: the mean gradient is what counts."""
    import mlx.core as mx
    from mlx.nn.utils import value_and_grad
    from mlx.utils import tree_flatten, tree_map

    request = TrainRequest("tiny-flux", examples, RECIPE, Path("unused.safetensors"))
    base = open_training_base(BASE_MODELS["tiny-flux"], shipped)
    network, dataset = trainer.prepare(base, TrainingSettings(16, False), request, "")
    add_lora(network, 4)
    (bucket,) = dataset.buckets
    numbers = np.random.default_rng(3)
    noise = mx.array(numbers.standard_normal((8, 48, 64)).astype(np.float32))
    times = mx.array(numbers.uniform(0.1, 0.9, 8).astype(np.float32))
    gradient_of = value_and_grad(network, loop.flow_matching_loss)

    def gradient(part: slice):
        latents, captions = bucket.take(range(8)[part])
        text, pooled = dataset.text[mx.array(captions)], dataset.pooled[mx.array(captions)]
        return gradient_of(network, latents, noise[part], times[part], text, pooled, bucket.grid)[1]

    whole = gradient(slice(0, 8))
    halves = tree_map(lambda a, b: (a + b) / 2, gradient(slice(0, 4)), gradient(slice(4, 8)))
    for (name, one), (_, other) in zip(tree_flatten(whole), tree_flatten(halves), strict=True):
        assert mx.allclose(one, other, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize(("iterations", "grad_accumulation"), [(5, 1), (7, 3)])
def test_adam_has_the_rate_of_the_schedule_at_each_step(
    iterations: int,
    grad_accumulation: int,
    shipped: DataDir,
    examples: Examples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also at the last one, which here is of fewer iterations."""
    applied: list[float] = []
    update = loop.TrainingLoop._update

    def watched(self: loop.TrainingLoop, gradient: object) -> None:
        update(self, gradient)
        applied.append(self._optimizer.learning_rate.item())

    monkeypatch.setattr(loop.TrainingLoop, "_update", watched)
    short = {"iterations": iterations, "grad_accumulation": grad_accumulation}
    recipe = RECIPE.model_copy(update=short | {"batch_size": 1, "warmup_steps": 1, "learning_rate": 0.01})
    train(shipped, examples, tmp_path / "a.safetensors", recipe)
    steps = -(-iterations // grad_accumulation)
    falling = [0.005 * (1 + math.cos(math.pi * step / steps)) for step in range(steps - 1)]
    assert applied == pytest.approx([0.005, *falling], rel=1e-6)
    assert min(applied) > 0


def test_a_loss_that_is_no_number_stops_the_training(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    output = tmp_path / "a.safetensors"
    wild = RECIPE.model_copy(update={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(TrainingError, match=r"learning_rate: the loss became (nan|inf)"):
        train(shipped, examples, output, wild)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_no_file(shipped: DataDir, examples: Examples, tmp_path: Path) -> None:
    def interrupt(progress: TrainProgress) -> None:
        if progress.iteration == 2:
            raise KeyboardInterrupt

    request = TrainRequest("tiny-flux", examples, RECIPE, tmp_path / "a.safetensors")
    with pytest.raises(KeyboardInterrupt):
        factory.trainer(shipped).train(request, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_base_model_says_how_to_get_it(data: DataDir, examples: Examples, tmp_path: Path) -> None:
    request = replace(TrainRequest("tiny-flux", examples, RECIPE, tmp_path / "a"), base_model="flux1-dev")
    with pytest.raises(BaseModelError, match=r"hf download black-forest-labs/FLUX\.1-dev"):
        factory.trainer(data).train(request, lambda progress: None)


@pytest.mark.parametrize(
    ("mode", "size"), [("L", (128, 96)), ("RGBA", (128, 96)), ("RGB", (300, 200)), ("P", (200, 96))]
)
def test_pictures_become_rgb_of_the_training_size(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.new("RGB", size, (10, 120, 240)).convert(mode).save(path)
    crops = crops_of(RECIPE, BASE_MODELS["tiny-flux"].training_size)
    for planned in (
        plan_crops([path], crops, np.random.default_rng(0)),
        plan_plain_crops([path], crops),
    ):
        for pixels in planned[0].pixels():
            assert pixels.shape == (96, 128, 3)
            assert pixels.dtype == "uint8"
