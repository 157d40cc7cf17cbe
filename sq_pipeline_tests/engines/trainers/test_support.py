"""Every field of a recipe × every trainer: it is followed, or it is no trainer's business, or it is refused by name."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from sq_pipeline.common.errors import Fault, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.trainers.mflux_train.trainer import MfluxTrainTrainer
from sq_pipeline.training.ports import CheckpointPlace, Trainer, TrainingExample, TrainRequest
from sq_pipeline.training.recipe import Recipe, TrainerName
from sq_pipeline.training.support import NEUTRAL, PART_OF, TrainerSupport, refuse_unsupported, unsupported_faults
from sq_pipeline_tests.engines.trainers.mlx_examples.mlx_examples_place import draw_pictures, make_place

TRAINERS: tuple[TrainerName, ...] = get_args(TrainerName)
TRAINED_OVER: Mapping[TrainerName, str] = {"mlx": "tiny-flux", "mlx-examples": "flux1-dev", "mflux-train": "z-image"}
# Each field as it is when it is on. A new field has no line here: say what it is when on, and see who follows it.
ON: Mapping[str, Mapping[str, Any]] = {
    "name": {"name": "West"},
    "kind": {"kind": "subject"},
    "trigger": {"trigger": "west"},
    "trigger_required": {"trigger_required": True},
    "gate": {"gate": {"style_share": {"value": 0.1, "reason": "it is faint"}}},
    "base_model": {"base_model": "flux1-dev"},
    "trainer": {"trainer": "mflux-train"},
    "rank": {"rank": 3},
    "alpha": {"alpha": 4.0},
    "modules": {"modules": ("*.img_attn.*",)},
    "iterations": {"iterations": 3},
    "batch_size": {"batch_size": 2},
    "grad_accumulation": {"grad_accumulation": 2},
    "learning_rate": {"learning_rate": 1e-3},
    "warmup_steps": {"warmup_steps": 0},
    "guidance": {"guidance": 2.0},
    "resolution": {"resolution": (64, 48)},
    "aspect_buckets": {"aspect_buckets": True},
    "num_augmentations": {"num_augmentations": 2},
    "crop_min": {"crop_min": 0.5},
    "flip": {"flip": True},
    "caption_dropout": {"caption_dropout": 0.1},
    "caption_styles": {"caption_styles": ("trigger", "sentence")},
    "prior_mix": {"prior_mix": 0.5, "prior_prompts": ("a lake",)},
    "prior_prompts": {"prior_mix": 0.5, "prior_prompts": ("a lake", "a hill")},
    "prior_pictures": {"prior_mix": 0.5, "prior_prompts": ("a lake",), "prior_pictures": 2},
    "background": {"background": "#808080"},
    "ignore": {"ignore": ("notes.txt",)},
    "held_out_pairs": {"held_out_pairs": 1},
    "base_bits": {"base_bits": 4},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "seed": {"seed": 5},
    "min_pairs": {"min_pairs": 1},
    "checkpoint_interval": {"checkpoint_interval": 2},
    "kept_checkpoints": {"kept_checkpoints": 2},
    "sample_interval": {"sample_interval": 2},
    "sample_prompts": {"sample_prompts": ("a mill", "a mine")},
}
# what a trainer can do of a field whose other values it refuses
WITHIN_LIMITS: Mapping[TrainerName, Mapping[str, Any]] = {
    "mlx": {},
    "mlx-examples": {
        "alpha": 8.0,
        "caption_styles": ("sentence",),
        "base_bits": 16,
        "gradient_checkpointing": False,
        "iterations": 700,
        "sample_prompts": ("a mill",),
        "warmup_steps": 1,
    },
    "mflux-train": {"alpha": 8.0, "crop_min": 1.0, "caption_styles": ("sentence",)},
}


class LongerRecipe(Recipe):
    """A recipe with a field that no trainer has heard of; it is off unless it is set."""

    noise_offset: float = 0.0


@pytest.fixture(params=TRAINERS)
def trainer(request: pytest.FixtureRequest, data: DataDir) -> Trainer:
    return factory.trainer(data, request.param)


def recipe_with(changes: Mapping[str, Any], kind: type[Recipe] = Recipe) -> Recipe:
    return kind.model_validate(changes)


def told_by(trainer: Trainer, recipe: Recipe, folder: Path) -> tuple[Fault, ...]:
    """What `train` itself refuses, before it reads anything."""
    examples = tuple(TrainingExample(folder / f"{n}.png", "west") for n in range(2))
    request = TrainRequest(TRAINED_OVER[trainer.support.trainer], examples, recipe, folder / "a.safetensors")
    with pytest.raises(TrainingError) as caught:
        trainer.train(request, lambda _progress: None)
    return caught.value.faults


def test_every_field_is_known_here() -> None:
    assert ON.keys() == Recipe.model_fields.keys()
    assert factory.TRAINERS.keys() == TRAINED_OVER.keys() == WITHIN_LIMITS.keys() == set(TRAINERS)


def test_each_trainer_declares_fields_that_there_are_and_each_once(trainer: Trainer) -> None:
    support = trainer.support
    declared = [*support.fields, *support.limits, *support.reasons, *NEUTRAL]
    assert set(declared) <= Recipe.model_fields.keys()
    assert len(declared) == len(set(declared))


@pytest.mark.parametrize("field", sorted(ON))
def test_a_field_is_followed_or_refused_by_name(trainer: Trainer, field: str, tmp_path: Path) -> None:
    support, recipe = trainer.support, recipe_with(ON[field])
    found = list(unsupported_faults(recipe, support))
    if field in NEUTRAL or field in support.fields:
        assert found == []
        return
    (fault,) = found
    assert (fault.file, fault.field) == ("lora.yaml", PART_OF.get(field, field))
    assert fault.problem.startswith(support.trainer)
    assert fault in told_by(trainer, recipe, tmp_path)
    if "leave it out" in fault.hint:
        without = {name: value for name, value in ON[field].items() if name not in (field, PART_OF.get(field))}
        assert list(unsupported_faults(recipe_with(without), support)) == []
    else:
        assert field in support.limits
        assert fault.hint.startswith("write ")


@pytest.mark.parametrize("field", sorted(ON))
def test_the_trainer_that_a_hint_names_can_do_it(trainer: Trainer, field: str, data: DataDir) -> None:
    recipe = recipe_with(ON[field])
    for fault in unsupported_faults(recipe, trainer.support):
        for name in TRAINERS:
            if f"`trainer: {name}`" in fault.hint:
                assert list(unsupported_faults(recipe, factory.trainer(data, name).support)) == []


def test_what_is_within_its_limits_is_not_refused(trainer: Trainer) -> None:
    within = WITHIN_LIMITS[trainer.support.trainer]
    assert within.keys() == trainer.support.limits.keys()
    assert list(unsupported_faults(recipe_with(within), trainer.support)) == []


def test_a_field_that_is_off_is_no_fault(trainer: Trainer) -> None:
    """Written out or not; and what says how prior pictures are made is off where none are."""
    written = Recipe().model_dump()
    assert list(unsupported_faults(recipe_with(written), trainer.support)) == []
    assert list(unsupported_faults(recipe_with({"prior_prompts": ("a lake",)}), trainer.support)) == []


def test_a_field_that_is_new_is_refused_by_every_trainer_when_it_is_on(trainer: Trainer, tmp_path: Path) -> None:
    for off in ({}, {"noise_offset": 0.0}):
        refuse_unsupported(recipe_with(off, LongerRecipe), trainer.support)
    faults = told_by(trainer, recipe_with({"noise_offset": 0.1}, LongerRecipe), tmp_path)
    problem = f"{trainer.support.trainer} has no such setting"
    # no other trainer is named, as none can do it
    assert [fault for fault in faults if fault.field == "noise_offset"] == [
        Fault("lora.yaml", "noise_offset", problem, "leave it out")
    ]


def test_all_of_them_are_told_at_once() -> None:
    support = TrainerSupport("mlx", frozenset({"rank"}))
    recipe = recipe_with({"seed": 1, "rank": 2, "flip": True, "alpha": 4.0, "trigger": "west"})
    with pytest.raises(TrainingError) as caught:
        refuse_unsupported(recipe, support, "west/lora.yaml")
    told = [(fault.file, fault.field) for fault in caught.value.faults]
    assert told == [("west/lora.yaml", field) for field in ("alpha", "flip", "seed")]


# --- what is declared is true: a trainer reads each field that it says it follows


READ: set[str] = set()


class WatchedRecipe(Recipe):
    """Tells which fields of it were read."""

    def __getattribute__(self, name: str) -> Any:
        if name in Recipe.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


def watched(support: TrainerSupport, **more: Any) -> Recipe:
    """A recipe in which everything is on that the trainer can do."""
    fields = [field for field in ON if field in support.fields]
    changes = {name: value for field in fields for name, value in ON[field].items()}
    recipe = WatchedRecipe.model_validate({**changes, **more})
    READ.clear()
    return recipe


def insist_on_all_read(support: TrainerSupport) -> None:
    # whoever asks for a training says what is drawn, after the recipe's `sample_prompts`
    assert support.fields - {"sample_prompts"} - READ == set()


def request_for(base_model: str, examples: tuple[TrainingExample, ...], recipe: Recipe, folder: Path) -> TrainRequest:
    place = CheckpointPlace(folder / "checkpoints", "sha256:this")
    return TrainRequest(base_model, examples, recipe, folder / "a.safetensors", place, ("west a mill",))


def test_mlx_reads_what_it_declares(shipped: DataDir, examples: tuple[TrainingExample, ...], tmp_path: Path) -> None:
    trainer = factory.trainer(shipped)
    recipe = watched(trainer.support, base_bits=16, modules=("*",), resolution=(128, 96))
    trainer.train(request_for("tiny-flux", examples, recipe, tmp_path), lambda _progress: None)
    insist_on_all_read(trainer.support)


def test_mlx_examples_reads_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path, monkeypatch)
    trainer = factory.trainer(place.data, "mlx-examples")
    recipe = watched(trainer.support, resolution=(32, 32))
    request = replace(place.request(draw_pictures(tmp_path / "pictures", 4)), recipe=recipe)
    trainer.train(request, lambda _progress: None)
    insist_on_all_read(trainer.support)


def test_mflux_train_reads_what_it_declares(tmp_path: Path) -> None:
    for part in ("transformer", "text_encoder", "tokenizer", "vae"):
        (tmp_path / "models/z-image" / part).mkdir(parents=True)
    trainer = MfluxTrainTrainer(DataDir(tmp_path), (sys.executable, "-c", "raise SystemExit('ended here')"))
    recipe = watched(trainer.support, modules=("layers.*",), iterations=4)
    request = request_for("z-image", draw_pictures(tmp_path / "pictures", 4, side=64), recipe, tmp_path)
    with pytest.raises(TrainingError, match="ended here"):
        trainer.train(request, lambda _progress: None)
    insist_on_all_read(trainer.support)
