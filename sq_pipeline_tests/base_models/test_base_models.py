"""Names of base models, their quantized siblings among them, and what these share with the model they are made of."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import (
    BASE_MODELS,
    RENDER_BITS,
    Flux1Model,
    QwenModel,
    as_flux1,
    known_names,
    quantized,
    resolve_base_model,
    training_base_of,
)
from sq_pipeline.base_models.ports import TokenCounts
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.engines import factory
from sq_pipeline.pipeline.adapters.training_needs import fit_trainings
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import picture_inputs
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.pipeline.fast import FastEngines, lora, write_dataset, write_yaml

ALL = [*BASE_MODELS.values(), *(quantized(model, bits) for model in BASE_MODELS.values() for bits in RENDER_BITS)]


@pytest.mark.parametrize(
    ("name", "wanted", "bits"),
    [
        ("flux1-dev", "flux1-dev", None),
        ("flux1-dev-8bit", "flux1-dev-8bit", 8),
        ("flux1-dev-4bit", "flux1-dev-4bit", 4),
        ("dev-8bit", "flux1-dev-8bit", 8),
        (" Flux.1-Dev-4BIT ", "flux1-dev-4bit", 4),
        ("tiny-4bit", "tiny-flux-4bit", 4),
        ("klein-8bit", "flux2-klein-4b-8bit", 8),
        ("zimage-turbo-4bit", "z-image-turbo-4bit", 4),
    ],
)
def test_a_name_may_end_with_bits(name: str, wanted: str, bits: int | None) -> None:
    found = resolve_base_model(name)
    assert (found.name, found.render_bits) == (wanted, bits)


@pytest.mark.parametrize(
    "name", ["flux1-dev-3bit", "flux1-dev-16bit", "flux1-dev8bit", "flux1-dev-8bit-8bit", "-8bit", "sd15-4bit", "8bit"]
)
def test_other_bits_are_no_name(name: str) -> None:
    with pytest.raises(BaseModelError) as told:
        resolve_base_model(name)
    (fault,) = told.value.faults
    assert fault.problem == f"unknown base model {name!r}"
    assert fault.hint == (
        "use one of flux1-dev, flux1-schnell, flux2-klein-4b, flux2-klein-base-4b, tiny-flux, z-image, z-image-turbo, "
        "or one with -8bit or -4bit after it"
    )


def test_no_two_models_share_a_name_or_an_alias() -> None:
    names = [name for model in ALL for name in (model.name, *model.aliases)]
    assert len(names) == len(set(names)) == 3 * sum(1 + len(model.aliases) for model in BASE_MODELS.values())
    assert all(resolve_base_model(name) in ALL for name in names)


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_a_quantized_model_is_its_plain_one_but_for_names_and_bits(model: Flux1Model | QwenModel) -> None:
    plain = BASE_MODELS[model.files_name]
    assert replace(model, name=plain.name, aliases=plain.aliases, render_bits=None) == plain
    assert type(model) is type(plain)
    assert resolve_base_model(model.name) == model
    trained_over = training_base_of(model)
    assert trained_over.render_bits is None
    assert trained_over == training_base_of(plain)


def test_recipes_take_them_and_say_which_there_are() -> None:
    assert Recipe(base_model="dev-8bit").base_model == "dev-8bit"
    with pytest.raises(ValidationError) as told:
        Recipe(base_model="dev-2bit")
    assert known_names() in str(told.value)


def test_errors_of_a_family_name_the_plain_ones() -> None:
    with pytest.raises(BaseModelError, match=r"z-image-8bit is a Z-Image.*use one of tiny-flux, flux1-dev, flux1-sch"):
        as_flux1(resolve_base_model("z-image-8bit"), "this")


def test_files_and_their_hash_are_the_plain_one_s(shipped: DataDir) -> None:
    tiny, rough = resolve_base_model("tiny-flux"), resolve_base_model("tiny-flux-4bit")
    assert files.base_model_folder(rough, shipped) == files.base_model_folder(tiny, shipped)
    assert files.base_model_weights_hash(rough.name, shipped) == files.base_model_weights_hash("tiny", shipped)
    assert files.quick_weights_hash(shipped)("tiny-8bit") == files.base_model_weights_hash("tiny", shipped)
    counts = [factory.token_counter(name, shipped).count_tokens("a mill") for name in ("tiny-flux", "tiny-8bit")]
    assert counts[0] == counts[1]


def test_what_is_missing_is_told_under_the_plain_one_s_folder(data: DataDir) -> None:
    with pytest.raises(BaseModelError) as told:
        files.base_model_folder(resolve_base_model("schnell-8bit"), DataDir(data.root / "none"))
    (fault,) = told.value.faults
    assert (fault.file, fault.hint) == ("models/flux1-schnell", "run `hf download black-forest-labs/FLUX.1-schnell`")
    assert fault.problem.startswith("flux1-schnell-8bit is not on this machine")


def test_each_model_is_listed_once(shipped: DataDir) -> None:
    assert [name for name, _, _ in files.readiness(shipped)] == sorted(BASE_MODELS)


def test_a_picture_s_fingerprint_tells_the_bits_apart_and_says_nothing_new_of_plain_ones() -> None:
    counts = TokenCounts("T5", 2, 96, 2, 77)
    prompt = Prompt("western", "dust", "Mill", "mill", "landscape", "a mill", "text", 1, counts, ())
    models = [resolve_base_model(name) for name in ("tiny-flux", "tiny-flux-8bit", "tiny-flux-4bit")]
    found = [
        picture_inputs(prompt, (), model, "sha256:0", model.settings_for("landscape"), {"mflux": "0"})
        for model in models
    ]
    assert len({fingerprint(inputs) for inputs in found}) == 3
    assert all({**inputs, "base_model": "tiny-flux"} == found[0] for inputs in found)
    assert "render_bits" not in found[0]


def test_a_training_for_one_is_counted_as_one_over_the_full_weights(data: DataDir) -> None:
    loras = [lora("land", "west/landscape", trigger="west")]
    style = {"base_seed": 1, "loras": loras, "preferred_model": "tiny-flux-4bit"}
    write_yaml(data.genre_root("west") / "visual_style.yaml", style)
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": []})
    write_dataset(data.datasets_root / "west/landscape", "west", 1)
    fits, faults = fit_trainings(Context(data, FastEngines()(data)), 1 << 40, "bfloat16")
    assert not faults
    assert [fit.base_model for fit in fits] == ["flux1-dev", "flux1-schnell", "tiny-flux", "tiny-flux"]
    assert fits[-1].settings == fits[-2].settings
