"""Which settings fit a machine, what is said where none do, and the commands that show it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Dtype
from sq_pipeline.cli import main
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import device_memory, machine
from sq_pipeline.training.fit import choose_settings, least_need, tokens_of_recipe
from sq_pipeline.training.memory import TrainingSettings, image_tokens_of, training_need
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.builders import make_image, write_dataset

GIB = 2**30
DEV, TINY = FLUX1_MODELS["flux1-dev"], FLUX1_MODELS["tiny-flux"]


def choose(recipe: Recipe, memory_gib: float, base_model=DEV, dtype: Dtype = "bfloat16") -> TrainingSettings:
    return choose_settings(
        recipe, base_model, tokens_of_recipe(recipe, base_model), round(memory_gib * GIB), dtype=dtype
    )


@pytest.mark.parametrize(
    ("recipe", "memory_gib", "bits", "is_checkpointed"),
    [
        (Recipe(), 96, 16, False),
        (Recipe(), 48, 16, True),
        (Recipe(), 32, 16, True),
        (Recipe(), 24, 8, True),
        (Recipe(), 12, 4, True),
        (Recipe(resolution=(768, 768)), 64, 16, True),
        (Recipe(resolution=(768, 768)), 20, 8, True),
        # what a person says is kept
        (Recipe(base_bits=8), 96, 8, False),
        (Recipe(base_bits=8), 24, 8, True),
        (Recipe(base_bits=4), 36, 4, False),
        (Recipe(gradient_checkpointing=True), 96, 16, True),
        (Recipe(gradient_checkpointing=False), 96, 16, False),
        (Recipe(gradient_checkpointing=False), 36, 4, False),
        (Recipe(base_bits=4, gradient_checkpointing=False), 128, 4, False),
        (Recipe(base_bits=16, gradient_checkpointing=True), 32, 16, True),
    ],
)
def test_the_first_that_fits(recipe: Recipe, memory_gib: float, bits: int, is_checkpointed: bool) -> None:
    chosen = choose(recipe, memory_gib)
    assert chosen == TrainingSettings(bits, is_checkpointed)  # type: ignore[arg-type]
    assert chosen.as_json() == {"base_bits": bits, "gradient_checkpointing": is_checkpointed}


@pytest.mark.parametrize(
    ("recipe", "memory_gib", "wanted"),
    [
        (
            Recipe(base_bits=16, gradient_checkpointing=False, batch_size=2, rank=128),
            24,
            {"base_bits": "4", "gradient_checkpointing": "true", "batch_size": "1", "rank": "4", "resolution": "[256,"},
        ),
        (Recipe(gradient_checkpointing=False), 30, {"gradient_checkpointing": "true", "resolution": "[384,"}),
        (Recipe(base_bits=8, resolution=(1024, 1024)), 14, {"base_bits": "4", "resolution": "[384,"}),
        (Recipe(base_bits=16), 24, {"base_bits": "8"}),
        (Recipe(rank=256), 20, {"rank": "4"}),
    ],
)
def test_where_nothing_fits_everything_that_would_help_is_told(
    recipe: Recipe, memory_gib: float, wanted: dict[str, str]
) -> None:
    with pytest.raises(TrainingError) as error_info:
        choose(recipe, memory_gib)
    told = {fault.field: fault for fault in error_info.value.faults}
    assert wanted.keys() <= told.keys()
    assert len(told) == len(error_info.value.faults)
    for field, value in wanted.items():
        assert told[field].hint.startswith(f"{field}: {value}")
        assert told[field].hint.endswith(" GiB")
        assert f"there are {memory_gib:.1f} GiB" in told[field].problem


def test_a_machine_that_cannot_even_encode_is_told_so() -> None:
    with pytest.raises(TrainingError, match=r"encoding pictures and captions for flux1-dev takes 9\.1 GiB in bfloat16"):
        choose(Recipe(), 8)


def test_tiny_flux_is_never_quantized() -> None:
    assert choose(Recipe(), 4, TINY) == TrainingSettings(16, False)
    assert choose(Recipe(gradient_checkpointing=True, base_bits=16), 4, TINY) == TrainingSettings(16, True)
    with pytest.raises(TrainingError, match=r"lora\.yaml: base_bits: 4 bits, and tiny-flux"):
        choose(Recipe(base_bits=4), 4, TINY)


dtypes = st.sampled_from(["float32", "bfloat16"])
recipes = st.builds(
    Recipe,
    rank=st.integers(1, 256),
    batch_size=st.integers(1, 8),
    grad_accumulation=st.integers(1, 4),
    base_bits=st.sampled_from(["auto", 16, 8, 4]),
    gradient_checkpointing=st.sampled_from(["auto", True, False]),
    resolution=st.one_of(st.none(), st.tuples(*[st.integers(8, 80).map(lambda side: 16 * side)] * 2)),
    modules=st.sampled_from([("*",), ("single_blocks.*",), ("*.img_attn.qkv",)]),
)


@settings(deadline=None)
@given(recipes, st.integers(GIB, 256 * GIB), st.integers(0, 256 * GIB), st.integers(0, GIB), dtypes)
def test_what_is_chosen_fits_and_more_memory_never_costs_precision(
    recipe: Recipe, memory_bytes: int, more_bytes: int, encoded_bytes: int, dtype: Dtype
) -> None:
    tokens = tokens_of_recipe(recipe, DEV)
    try:
        chosen = choose_settings(recipe, DEV, tokens, memory_bytes, dtype=dtype, encoded_bytes=encoded_bytes)
    except TrainingError:
        assert least_need(recipe, DEV, tokens, dtype=dtype, encoded_bytes=encoded_bytes).total_bytes > memory_bytes
        return
    need = training_need(DEV, recipe, tokens, chosen, dtype=dtype, encoded_bytes=encoded_bytes)
    assert need.total_bytes <= memory_bytes
    assert recipe.base_bits in ("auto", chosen.base_bits)
    assert recipe.gradient_checkpointing in ("auto", chosen.gradient_checkpointing)
    richer = choose_settings(recipe, DEV, tokens, memory_bytes + more_bytes, dtype=dtype, encoded_bytes=encoded_bytes)
    assert richer.base_bits >= chosen.base_bits
    if richer.base_bits == chosen.base_bits:
        assert richer.gradient_checkpointing <= chosen.gradient_checkpointing


@settings(deadline=None)
@given(recipes, st.sampled_from([16, 8, 4]), st.booleans(), st.integers(1, 9000), dtypes)
def test_the_need_grows_with_each_size(
    recipe: Recipe, bits: Any, is_checkpointed: bool, tokens: int, dtype: Dtype
) -> None:
    asked = TrainingSettings(bits, is_checkpointed)

    def need(base_model=DEV, tokens=tokens, chosen=asked, **changes: Any) -> int:
        return training_need(base_model, recipe.model_copy(update=changes), tokens, chosen, dtype=dtype).training_bytes

    now = need()
    # decoding a sample can be more than a step, however large its batch
    assert need(tokens=tokens + 64) >= now
    assert need(rank=recipe.rank + 1) > now
    assert need(batch_size=recipe.batch_size + 1) >= now
    assert need(replace(DEV, single_blocks=39)) > now
    assert need(replace(DEV, hidden_size=3072 + 128)) > now
    assert need(chosen=TrainingSettings(16, is_checkpointed)) >= now
    assert need(chosen=TrainingSettings(bits, True)) <= now


def test_flux_as_counted_elsewhere() -> None:
    """Weights by the published parameter count; the adapter by its known file: 153 MB at rank 8 over all modules."""
    need = training_need(DEV, Recipe(rank=8), image_tokens_of(512, 512), TrainingSettings(16, False), dtype="bfloat16")
    assert need.weights == 2 * 11_901_408_320
    assert need.adapter == pytest.approx(153e6, rel=0.01)
    assert need.gradients == need.optimizer == 2 * need.adapter
    assert need.total_bytes == need.training_bytes > need.encoders


def test_the_encoders_can_be_the_larger_phase() -> None:
    need = training_need(DEV, Recipe(rank=1), image_tokens_of(256, 256), TrainingSettings(4, True), dtype="bfloat16")
    assert need.training_bytes < need.total_bytes == need.encoders


# --- how much memory there is


@pytest.mark.parametrize(
    ("info", "is_metal", "usable"),
    [
        ({}, False, 64 * GIB),
        ({"max_recommended_working_set_size": 48 * GIB}, True, 48 * GIB),
        ({"max_recommended_working_set_size": 96 * GIB}, True, 64 * GIB),
        ({"max_recommended_working_set_size": 48 * GIB}, False, 64 * GIB),
    ],
)
def test_a_gpu_s_limit_counts(info, is_metal, usable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 * GIB)
    monkeypatch.setattr(device_memory.mx, "device_info", lambda: info)
    monkeypatch.setattr(device_memory.mx.metal, "is_available", lambda: is_metal)
    assert device_memory.usable_bytes() == usable


# --- the commands


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sq-pipeline", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def set_memory(monkeypatch: pytest.MonkeyPatch, memory_gib: int) -> None:
    """As a machine with a GPU has it, whatever the tests run on."""
    monkeypatch.setattr(machine, "memory_bytes", lambda: memory_gib * GIB)
    monkeypatch.setattr(device_memory, "computing_dtype", lambda: "bfloat16")


def write_game(data: DataDir) -> None:
    """One genre whose two adapters have recipes, the second a faulty one."""
    genre = data.root / "content/genre_packs/west"
    genre.mkdir(parents=True)
    entry = "  - {{name: {0}, file: west/{0}.safetensors, scale: 1.0, applies_to: [{0}]}}\n"
    style = "preferred_model: dev\nloras:\n" + entry.format("landscape") + entry.format("portrait")
    (genre / "visual_style.yaml").write_text(style)
    for tier, recipe in (("landscape", "rank: 16\nresolution: [768, 768]\n"), ("portrait", "rnak: 3\n")):
        folder = data.root / "content/lora-datasets/west" / tier
        folder.mkdir(parents=True)
        (folder / "lora.yaml").write_text(recipe)


def test_doctor_tells_what_each_training_needs(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_game(data)
    set_memory(monkeypatch, 24)
    assert run_cli(monkeypatch, "doctor", "--train", "--json", "--data", str(data.root)) == 0
    report = json.loads(capsys.readouterr().out)["training"]
    assert report["usable_memory_bytes"] == 24 * GIB
    rows = {row["name"]: row for row in report["trainings"]}
    assert rows.keys() == {"flux1-dev", "flux1-schnell", "tiny-flux", "west/landscape"}
    assert rows["tiny-flux"]["settings"] == {"base_bits": 16, "gradient_checkpointing": False}
    row = rows["west/landscape"]
    assert (row["base_model"], row["rank"], row["image_tokens"]) == ("flux1-dev", 16, 48 * 48)
    assert row["settings"] == {"base_bits": 8, "gradient_checkpointing": True}
    parts = (
        "weights",
        "adapter",
        "gradients",
        "optimizer",
        "activations",
        "margin",
        "encoded",
        "samples",
        "beyond_step",
    )
    assert row["training_bytes"] == sum(row[f"{part}_bytes"] for part in parts)
    assert row["total_bytes"] == max(row["training_bytes"], row["encoders_bytes"]) <= 24 * GIB
    assert row["faults"] == []
    assert len(report["faults"]) == 1
    assert "rnak" in report["faults"][0]


def test_doctor_tells_what_would_help(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_game(data)
    set_memory(monkeypatch, 10)
    assert run_cli(monkeypatch, "doctor", "--train", "--data", str(data.root)) == 0
    out = capsys.readouterr().out
    assert "west/landscape: lora.yaml: resolution: needs 12.0 GiB at least, and there are 10.0 GiB" in out
    assert "nothing" in out


def test_doctor_without_train_says_nothing_of_it_and_lists_each_base_model_once(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "doctor", "--json", "--data", str(data.root)) == 0
    report = json.loads(capsys.readouterr().out)
    assert "training" not in report
    rows = {row["name"]: row["quantized"] for row in report["base_models"]}
    assert len(rows) == len(report["base_models"]) == 7
    assert rows["tiny-flux"] == ["tiny-flux-8bit", "tiny-flux-4bit"]
    assert [row["processes"] for row in report["work"]] == [machine.training_processes(), 1, 1]
    if sys.platform == "linux":
        assert report["work"][0]["processes"] == machine.cores()


def flux_dataset(tmp_path: Path) -> Path:
    """Two pairs over FLUX.1-schnell."""
    folder = write_dataset(tmp_path / "set", pairs=2)
    for index in range(2):
        make_image(index, 512, 512).save(folder / f"{index:03d}.png")
    with (folder / "lora.yaml").open("a") as file:
        file.write("base_model: schnell\ngradient_checkpointing: false\n")
    return folder


def test_the_preflight_tells_the_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = flux_dataset(tmp_path)
    set_memory(monkeypatch, 64)
    assert run_cli(monkeypatch, "dataset", "check", str(folder)) == 0
    assert "GiB of memory: full precision, without checkpointing" in capsys.readouterr().out
    assert run_cli(monkeypatch, "dataset", "check", str(folder), "--json") == 0
    report = json.loads(capsys.readouterr().out)["memory"]
    assert report["settings"]["base_bits"] == 16
    # two pictures in five cuts; one shared caption, four prompts of samples
    latents, text = 2 * 5 * 1024 * 64 * 4, 5 * (256 * 4096 + 768) * 2
    assert report["encoded_bytes"] == latents + text


def test_the_preflight_refuses_what_can_never_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = flux_dataset(tmp_path)
    set_memory(monkeypatch, 12)
    assert run_cli(monkeypatch, "dataset", "check", str(folder)) == 1
    output = capsys.readouterr()
    told = "not fit to train; judged over flux1-schnell (of lora.yaml)\n"
    told += "needs 29.1 GiB of memory at least, computed in bfloat16\n"
    assert output.out.startswith(told)
    assert "warning: " in output.out.removeprefix(told)  # the tokenizer that counts its captions is not here
    assert f"error: {folder}/lora.yaml: gradient_checkpointing: needs " in output.err


def test_the_preflight_knows_the_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "set", pairs=2)
    with (folder / "lora.yaml").open("a") as file:
        file.write('modules: ["*.img_attn.qkv", "attn.*"]\n')
    assert run_cli(monkeypatch, "dataset", "check", str(folder)) == 1
    assert f"error: {folder}/lora.yaml: modules[1]: 'attn.*' matches no module" in capsys.readouterr().err
