"""What a training is said to need, held against what it really holds: arrays that are loaded, peaks of trainings."""

import gc
import math
from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Dtype
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import device_memory, factory
from sq_pipeline.engines.flux.encoder_tensors import CLIP, T5, VAE, EncoderDims
from sq_pipeline.engines.mflux.dtype import rendering_dtype
from sq_pipeline.engines.tiny_flux import model
from sq_pipeline.training.fit import tokens_of_recipe
from sq_pipeline.training.memory import (
    FLUX_ENCODERS,
    MemoryNeed,
    TrainingSettings,
    encoded_bytes_of,
    forward_bytes,
    training_dtype,
    training_need,
)
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.benchmarks.memory_cases import Case, measure
from sq_pipeline_tests.engines.conftest import RECIPE

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mlx.utils import tree_flatten

pytestmark = pytest.mark.takes(s=40)

TINY, DEV = FLUX1_MODELS["tiny-flux"], FLUX1_MODELS["flux1-dev"]
PROMPTS = ("a church", "a mill")


def need_of(recipe: Recipe, pairs: int, settings: TrainingSettings) -> MemoryNeed:
    tokens = tokens_of_recipe(recipe, TINY)
    encoded = encoded_bytes_of(TINY, recipe, tokens, pairs, 1, dtype="bfloat16")
    return training_need(TINY, recipe, tokens, settings, dtype="bfloat16", encoded_bytes=encoded)


def test_all_of_tiny_flux_is_counted_to_the_byte(shipped: DataDir) -> None:
    parts = model.load_parts(shipped.models_root / "tiny-flux")
    loaded = dict(tree_flatten([module.parameters() for module in parts.modules().values()]))
    need = need_of(Recipe(), 10, TrainingSettings(16, False))
    assert need.dtype == "float32"
    assert need.weights + need.samples == sum(array.nbytes for array in loaded.values())


def test_flux_s_encoders_are_counted_by_their_tensors() -> None:
    def count(part: object, prefix: str = "") -> int:
        shapes = part.shapes(EncoderDims())  # type: ignore[attr-defined]
        return sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(prefix))

    assert FLUX_ENCODERS.text == count(T5) > count(CLIP)
    assert (FLUX_ENCODERS.vae_encoder, FLUX_ENCODERS.vae_decoder) == (count(VAE, "encoder."), count(VAE, "decoder."))


@pytest.mark.parametrize(("dtype", "weights_gib", "t5_gib"), [("float32", 7.14, 17.74), ("bfloat16", 6.32, 8.87)])
def test_flux_at_real_sizes_is_as_it_was_measured(dtype: Dtype, weights_gib: float, t5_gib: float) -> None:
    need = training_need(DEV, Recipe(), 1024, TrainingSettings(4, True), dtype=dtype)
    assert need.dtype == dtype
    assert need.weights / 2**30 == pytest.approx(weights_gib, abs=0.01)
    assert t5_gib <= need.encoders / 2**30 < 1.1 * t5_gib


def test_what_is_counted_is_what_is_computed_in() -> None:
    names = {"float32": mx.float32, "bfloat16": mx.bfloat16}
    assert names[device_memory.computing_dtype()] == rendering_dtype()
    for dtype in names:
        assert training_dtype(DEV, dtype) == dtype  # type: ignore[arg-type]
        assert training_dtype(TINY, dtype) == "float32"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "is_checkpointed"),
    [
        ({}, False),
        ({}, True),
        ({"rank": 256, "grad_accumulation": 2}, False),
        ({"rank": 128}, True),
        ({"resolution": (64, 48), "batch_size": 6}, False),
        ({"grad_accumulation": 3, "sample_interval": 50}, False),
        ({"prior_mix": 0.5, "prior_prompts": ("a tower",), "prior_pictures": 8, "caption_dropout": 0.2}, False),
    ],
)
def test_a_training_over_tiny_flux_needs_what_is_said(
    changes: dict[str, object],
    is_checkpointed: bool,
    shipped: DataDir,
    examples: tuple[TrainingExample, ...],
    tmp_path: Path,
) -> None:
    values = {**RECIPE.model_dump(), "iterations": 4, "sample_interval": 4, "held_out_pairs": 1, "batch_size": 2}
    values |= {"gradient_checkpointing": is_checkpointed, "checkpoint_interval": 2, **changes}
    recipe = Recipe.model_validate(values)
    place = CheckpointPlace(tmp_path / "checkpoints", "sha256:this", keeps_end=True)
    prompts = PROMPTS if recipe.draws_samples else ()
    # as many tokens as are counted
    full = [replace(example, caption="a mill " * 44) for example in examples]
    request = TrainRequest("tiny-flux", tuple(full), recipe, tmp_path / "a.safetensors", place, prompts)
    peaks: list[int] = []
    for _ in range(2):
        gc.collect()  # what the training before left in circles
        before = mx.get_active_memory()
        peaks.append(factory.trainer(shipped).train(request, lambda _: None).peak_memory_bytes - before)
    need = need_of(recipe, len(examples), TrainingSettings(16, is_checkpointed))
    # the second takes up the end, and reads the checkpoint
    assert max(peaks) < need.total_bytes < 1.6 * max(peaks)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_base_in_float32_has_no_hidden_buffers(bits: int) -> None:
    case = Case(256, 1, 2, 48, (9, 10), rank=12, recomputes=True, bits=bits)  # type: ignore[arg-type]
    measured = measure(case)
    recipe = Recipe(rank=case.rank, sample_interval=1000)
    base_model = replace(case.base_model, t5_token_budget=48)
    need = training_need(base_model, recipe, 90, TrainingSettings(bits, True), dtype="float32")  # type: ignore[arg-type]
    assert need.weights == measured.weights_bytes
    assert need.training_bytes - need.beyond_step - 2 * need.margin < measured.peak_bytes < need.training_bytes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_samples_and_validation_take_memory_too(dtype: Dtype) -> None:
    settings = TrainingSettings(4, True)

    def need(**changes: object) -> MemoryNeed:
        return training_need(DEV, Recipe.model_validate(changes), 1024, settings, dtype=dtype)

    without, with_samples = need(sample_interval=1000), need(sample_interval=4)
    decoder = FLUX_ENCODERS.vae_decoder * (4 if dtype == "float32" else 2)
    assert with_samples.training_bytes - without.training_bytes >= decoder
    assert with_samples.samples == decoder
    # the optimizer's state is the largest of all at a large rank
    large = need(sample_interval=1000, rank=256)
    assert large.beyond_step > 0
    assert forward_bytes(DEV, Case().shape, dtype) > 0


def test_the_encoded_dataset_holds_all_that_is_encoded() -> None:
    def encoded(**changes: object) -> int:
        recipe = Recipe.model_validate({"held_out_pairs": 0, "sample_interval": 1000, **changes})
        return encoded_bytes_of(DEV, recipe, 1024, 40, 1, dtype="float32")

    picture, text = 1024 * 64 * 4, (512 * 4096 + 768) * 4
    plain = encoded()
    assert plain == 200 * picture + text
    assert encoded(sample_interval=5) == plain + 4 * text
    assert encoded(sample_interval=5, sample_prompts=["a"]) == plain + text
    assert encoded(caption_dropout=0.1) == plain + text
    assert encoded(prior_mix=0.5, prior_prompts=["a", "b"], prior_pictures=10) == plain + 2 * text + 10 * picture
    assert encoded(held_out_pairs=3) == plain + 3 * 4 * picture
