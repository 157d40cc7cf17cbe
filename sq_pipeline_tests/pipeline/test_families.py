"""The whole line of a Z-Image adapter: trained by mflux-train, taken as it is, verified, promoted; all real, small.

And a file from elsewhere, which is read by its own family's names and never by FLUX.1's.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mflux_train.trainer import MfluxTrainTrainer
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.adapters.promote import promote
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.engines.mflux.small_families import small, small_sizes, write_folder
from sq_pipeline_tests.engines.mflux.test_families import write_adapter
from sq_pipeline_tests.engines.trainers.mflux_train.test_mflux_train import SMALL_TRAIN
from sq_pipeline_tests.pipeline.fast import FastEngines, chapter, lora, poi, write_dataset, write_yaml

_log = logging.getLogger(__name__)


def write_game(data: DataDir, base_model: str) -> None:
    settings = {"promotion": "automatic", "trainer": "mflux-train", "thresholds": {"ssim_trigger_max": 1.0}}
    write_yaml(data.settings_file, settings)
    genre = data.genre_root("west")
    loras = [lora("west_land", "west/landscape", trigger="west")]
    write_yaml(genre / "visual_style.yaml", {"preferred_model": base_model, "base_seed": 1, "loras": loras})
    write_yaml(genre / "history.yaml", {"chapters": [chapter(poi("Mill"))]})


@pytest.fixture
def small_game(tmp_path: Path, shipped: DataDir) -> Iterator[DataDir]:
    data = DataDir(tmp_path / "data")
    for name in ("keymaps", "verify_prompts"):
        shutil.copytree(shipped.root / name, data.root / name)
    with small_sizes():
        yield data


def states(data: DataDir, engines: Any) -> dict[str, Step]:
    context = Context(data, engines)
    return adapter_steps_of(context, context.adapter("west/west_land"))


def test_an_adapter_goes_from_its_dataset_to_its_promotion(
    small_game: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")  # a graph takes seconds to compile on a CPU
    data = small_game
    write_game(data, "z-image")
    write_folder(small("z-image"), data.models_root / "z-image")
    folder = data.datasets_root / "west/landscape"
    write_dataset(folder, "west", 1)
    recipe = {
        "trigger": "west",
        "min_pairs": 3,
        "iterations": 4,
        "rank": 2,
        "learning_rate": 0.05,
        "grad_accumulation": 1,
        "warmup_steps": 0,
        "num_augmentations": 1,
        "base_bits": 16,
    }
    write_yaml(folder / "lora.yaml", recipe)
    engines = replace(real_engines(data), trainer=lambda _name: MfluxTrainTrainer(data, SMALL_TRAIN))
    context = Context(data, engines)
    adapter = context.adapter("west/west_land")
    make_adapter_asset(context, adapter, "training_dataset")
    trained, _ = make_adapter_asset(context, adapter, "mlx_adapter")
    assert (trained.info["iterations"], trained.info["tensors"]) == (4, 32)
    assert trained.inputs["trainer.name"] == "mflux-train"
    make_adapter_asset(context, adapter, "chosen_checkpoint")
    taken, _ = make_adapter_asset(context, adapter, "mflux_adapter")
    assert taken.info == {"taken": "as it is"}
    assert taken.data_version == trained.data_version
    verification, _ = make_adapter_asset(context, adapter, "verification")
    verdicts = {verdict["check"]: verdict for verdict in verification.info["verdicts"]}
    assert verification.info["has_passed"], verdicts
    assert verdicts["adapter fidelity"]["detail"].startswith("16 of 16 layers")
    assert verdicts["keys matched"]["detail"] == "32 of 32 keys, 16 of 16 layers"
    promote(context, adapter)
    assert (data.lora_root / "west/landscape.safetensors").is_file()
    assert {step.status for step in states(data, engines).values()} == {"fresh"}
    # the training is settled by the weights that it is over; what only verifies is not
    assert trained.inputs["base_model"] == "z-image"


def test_klein_is_trained_over_its_base_and_verified_with_itself(small_game: DataDir) -> None:
    write_game(small_game, "flux2-klein-4b")
    write_dataset(small_game.datasets_root / "west/landscape", "west", 1)
    weights = {"flux2-klein-4b": "sha256:4", "flux2-klein-base-4b": "sha256:b"}
    engines = FastEngines(weights=weights, trainer_versions={"mflux-train": {"fake": "1"}})(small_game)
    context = Context(small_game, engines)
    make_adapter_asset(context, context.adapter("west/west_land"), "training_dataset")
    inputs = states(small_game, engines)["mlx_adapter"].inputs
    assert (inputs["base_model"], inputs["base_weights"]) == ("flux2-klein-base-4b", "sha256:b")


@pytest.mark.parametrize(
    ("file_of", "problem"),
    [
        ("z-image", None),
        ("flux2-klein-4b", "are no layers' of a Z-Image LoRA"),
        ("flux1", "is no layer's of a Z-Image LoRA"),
    ],
)
def test_a_file_from_elsewhere_is_read_by_its_own_family_s_names(
    file_of: str, problem: str | None, small_game: DataDir
) -> None:
    write_game(small_game, "z-image")
    path = small_game.lora_root / "west/landscape.safetensors"
    path.parent.mkdir(parents=True)
    if file_of == "flux1":
        name = "transformer.transformer_blocks.0.attn.to_q.lora_{}.weight"
        save_file({name.format(matrix): np.ones((4, 4), np.float32) for matrix in "AB"}, path)
    else:
        write_adapter(small(file_of), path)
    engines = FastEngines(weights={"z-image": "sha256:z"})(small_game)
    context = Context(small_game, engines)
    adapter = context.adapter("west/west_land")
    if problem is not None:
        step = states(small_game, engines)["mflux_adapter"]
        assert step.status == "blocked"
        assert any(problem in reason for reason in step.reasons)
        return
    record, _ = make_adapter_asset(context, adapter, "mflux_adapter")
    assert record.info == {"taken": "as it is"}
    step = adapter_steps_of(context, adapter)["verification"]
    assert step.status == "stale"
    assert step.inputs["read_by"] == "names of z-image, revision 1"
