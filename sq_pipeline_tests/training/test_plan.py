"""The plan of a training: one split, one size, one choice of settings, whoever trains."""

from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.base_models.base_models import Dtype, SizePx, as_flux1, resolve_base_model
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.training.buckets import training_sizes
from sq_pipeline.training.fit import choose_settings, tokens_of_recipe
from sq_pipeline.training.memory import TrainingSettings, encoded_bytes_of
from sq_pipeline.training.plan import plan_training
from sq_pipeline.training.ports import TrainingExample, TrainRequest, ValidationRequest
from sq_pipeline.training.recipe import Recipe

GIB = 1 << 30


def test_each_picture_is_trained_on_or_held_out() -> None:
    plan = plan_training(Recipe(held_out_pairs=2), "tiny-flux", ["west"] * 20)
    assert plan.validation == (5, 15)
    assert plan.trained == tuple(number for number in range(20) if number not in (5, 15))
    letters = "abcdefghijklmnopqrst"
    assert "".join(plan.trained_of(letters)) == "abcdeghijklmnoqrst"
    assert plan.validation_of(letters) == ["f", "p"]


@pytest.mark.parametrize(
    ("name", "recipe", "size", "trained_over"),
    [
        ("tiny-flux", {}, SizePx(128, 96), "tiny-flux"),
        ("dev-4bit", {}, SizePx(512, 512), "flux1-dev"),
        ("flux2-klein-4b", {}, SizePx(512, 512), "flux2-klein-base-4b"),
        ("z-image", {"resolution": (768, 512)}, SizePx(768, 512), "z-image"),
    ],
)
def test_the_size_is_the_recipes_or_that_of_what_is_trained_over(
    name: str, recipe: dict[str, Any], size: SizePx, trained_over: str
) -> None:
    plan = plan_training(Recipe(**recipe), name, [])
    assert (plan.size, plan.base_model.name, plan.crops.sizes) == (size, trained_over, (size,))


def test_buckets_and_crops_are_the_recipes() -> None:
    recipe = Recipe(aspect_buckets=True, num_augmentations=3, crop_min=0.5, flip=True)
    crops = plan_training(recipe, "tiny-flux", []).crops
    assert (crops.num_augmentations, crops.crop_min, crops.flip) == (3, 0.5, True)
    assert crops.sizes == training_sizes(recipe, SizePx(128, 96))
    assert crops.resolution == SizePx(128, 96)
    assert len(crops.sizes) > 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_gib", [200, 60, 40, 26])
def test_settings_over_flux1_are_those_that_fit(memory_gib: int, dtype: Dtype) -> None:
    recipe, base_model = Recipe(), as_flux1(resolve_base_model("flux1-dev"), "a test")
    plan = plan_training(recipe, "flux1-dev", ["a", "b", "a", "c"] * 10)
    tokens = tokens_of_recipe(recipe, base_model)
    encoded = encoded_bytes_of(base_model, recipe, tokens, 40, 3, dtype=dtype)
    wanted = choose_settings(recipe, base_model, tokens, memory_gib * GIB, dtype=dtype, encoded_bytes=encoded)
    assert plan.settings(memory_gib * GIB, dtype) == wanted


@pytest.mark.parametrize(
    ("memory_gib", "recipe", "settings"),
    [
        (64, {}, TrainingSettings(16, False)),
        (48, {}, TrainingSettings(16, True)),
        (47, {}, TrainingSettings(8, True)),
        (24, {}, TrainingSettings(8, True)),
        (23, {}, TrainingSettings(4, True)),
        (23, {"base_bits": 16, "gradient_checkpointing": False}, TrainingSettings(16, False)),
    ],
)
def test_settings_over_the_other_families_go_by_the_machine(
    memory_gib: int, recipe: dict[str, Any], settings: TrainingSettings
) -> None:
    assert plan_training(Recipe(**recipe), "z-image", []).settings(memory_gib * GIB, "bfloat16") == settings
    # the same twice as wide
    assert plan_training(Recipe(**recipe), "z-image", []).settings(2 * memory_gib * GIB, "float32") == settings


def test_a_request_has_one_plan_and_the_meter_the_same() -> None:
    examples = tuple(TrainingExample(Path(f"{number}.png"), "west") for number in range(20))
    request = TrainRequest("tiny-flux", examples, Recipe(), Path("a.safetensors"))
    assert request.plan is request.plan
    assert ValidationRequest("tiny-flux", examples, Recipe(), ()).plan == request.plan
    assert request.plan.validation_of(request.examples) == [examples[5], examples[15]]


def test_a_base_model_that_is_not_known_has_no_plan() -> None:
    with pytest.raises(BaseModelError, match="unknown base model 'flux9'"):
        plan_training(Recipe(), "flux9", [])
