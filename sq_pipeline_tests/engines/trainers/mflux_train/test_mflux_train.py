"""mflux-train as a trainer: its real training loop over small models, its files, a cut-off run, its failures."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.base_models.base_models import BASE_MODELS, SizePx
from sq_pipeline.common.errors import BaseModelError, TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory, versions
from sq_pipeline.engines.trainers.mflux_train import trainer as mflux_trainer
from sq_pipeline.engines.trainers.mflux_train.config import plan_checkpoints, trained_modules
from sq_pipeline.engines.trainers.mflux_train.folder import TrainFolder, is_whole
from sq_pipeline.engines.trainers.mflux_train.pictures import cut_picture
from sq_pipeline.engines.trainers.mflux_train.trainer import MfluxTrainTrainer
from sq_pipeline.engines.trainers.mlx.crops import plan_crops
from sq_pipeline.training.plan import crops_of
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainProgress, TrainRequest, TrainResult
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import judge_fidelity
from sq_pipeline_tests.common.stops import STOPS, CarriesOut
from sq_pipeline_tests.engines.mflux.small_families import small, small_sizes, write_folder

SMALL_TRAIN = (sys.executable, "-m", "sq_pipeline_tests.engines.trainers.mflux_train.small_mflux_train")
RECIPE = Recipe(
    rank=2,
    iterations=8,
    grad_accumulation=2,
    learning_rate=1e-3,
    warmup_steps=1,
    num_augmentations=1,
    checkpoint_interval=3,  # the nearest that does not fall into an optimizer step and divides 8: every 2
    sample_interval=4,
    kept_checkpoints=2,
    held_out_pairs=0,
    base_bits=16,
    gradient_checkpointing=False,
)


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDir]:
    root = tmp_path_factory.mktemp("families")
    for name in ("z-image", "flux2-klein-base-4b"):
        write_folder(small(name), root / "models" / name)
    with pytest.MonkeyPatch.context() as patch, small_sizes():
        patch.setenv("MLX_DISABLE_COMPILE", "1")  # compiling a preview's graph takes seconds on a CPU
        yield DataDir(root)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingExample, ...]:
    folder = tmp_path_factory.mktemp("pictures")
    found: list[TrainingExample] = []
    for index in range(6):
        path = folder / f"{index}.png"
        numbers = np.random.default_rng(index).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(numbers).save(path)
        found.append(TrainingExample(path, "old_print"))
    return tuple(found)


def request(
    name: str, pictures: tuple[TrainingExample, ...], folder: Path, recipe: Recipe = RECIPE, identity: str = "x"
) -> TrainRequest:
    place = CheckpointPlace(folder / "checkpoints", identity)
    return TrainRequest(name, pictures, recipe, folder / "a.safetensors", place, ("old_print a mill",))


@pytest.fixture(scope="module")
def trained(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainResult, list[TrainProgress], Path]:
    """One whole training over the small Z-Image: what came of it, what was told, and its folder."""
    folder, told = tmp_path_factory.mktemp("trained"), list[TrainProgress]()
    result = MfluxTrainTrainer(small_data, SMALL_TRAIN).train(request("z-image", pictures, folder), told.append)
    return result, told, folder


def test_a_training_gives_its_adapter_losses_kept_ones_and_samples(
    trained: tuple[TrainResult, list[TrainProgress], Path],
) -> None:
    result, told, folder = trained
    assert [progress.iteration for progress in told] == [*range(1, 9)]
    assert tuple(progress.loss for progress in told) == result.losses
    names = {f"diffusion_model.{path}" for path in trained_modules(small("z-image"), RECIPE)}
    file = open_safetensors(folder / "a.safetensors")
    assert {name.rpartition(".lora_")[0] for name in file.tensors} == names
    assert result.tensors == len(file.tensors) == 2 * (2 * 7 + 2)
    assert {info.shape[0] for name, info in file.tensors.items() if ".lora_A." in name} == {2}
    assert [kept.iteration for kept in result.kept] == [4, 8]
    assert result.kept[0].path.read_bytes() != result.kept[1].path.read_bytes()
    assert [iteration for iteration, _ in result.samples] == [0, 4, 8]
    assert all(Image.open(path).size == (48, 32) for _, path in result.samples)
    assert result.settings["checkpoint_interval"] == 2
    assert result.resumed_at == ()
    assert result.peak_memory_bytes > 0
    leftovers = sorted(path.name for path in (folder / "checkpoints" / "run" / "checkpoints").iterdir())
    assert leftovers == ["0000006_checkpoint.zip", "0000008_checkpoint.zip"]


def test_what_it_trained_passes_the_gate(
    trained: tuple[TrainResult, list[TrainProgress], Path], small_data: DataDir
) -> None:
    path, base_model = trained[2] / "a.safetensors", small("z-image")
    report = measure_fidelity(AdapterUse(path, 1.0), path, base_model, factory.fidelity_meter(small_data))
    assert judge_fidelity(report, FidelityThresholds()).outcome == "passed"
    assert len(report.wanted) == 16
    assert all(layer.norm_wanted > 0 for layer in report.layers)  # each of them has learned


@pytest.mark.long
def test_a_training_that_was_cut_off_gives_the_same_bytes(
    trained: tuple[TrainResult, list[TrainProgress], Path],
    small_data: DataDir,
    pictures: tuple[TrainingExample, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer, asked = MfluxTrainTrainer(small_data, SMALL_TRAIN), request("z-image", pictures, tmp_path)

    def interrupt(progress: TrainProgress) -> None:
        if progress.iteration == 5:
            raise KeyboardInterrupt

    monkeypatch.setenv("SMALL_TRAIN_HOLDS_AT", "6")
    with pytest.raises(KeyboardInterrupt):
        trainer.train(asked, interrupt)
    monkeypatch.delenv("SMALL_TRAIN_HOLDS_AT")
    assert not asked.output_path.exists()
    folder = tmp_path / "checkpoints" / "run" / "checkpoints"
    (folder / "0000099_checkpoint.zip").write_bytes(b"PK\x03\x04 cut off")  # a kill in the middle of a write
    told: list[TrainProgress] = []
    result = trainer.train(asked, told.append)
    assert result.resumed_at[0] in (4, 6)
    assert [progress.iteration for progress in told] == [*range(result.resumed_at[0] + 1, 9)]
    assert result.losses == trained[0].losses
    assert asked.output_path.read_bytes() == (trained[2] / "a.safetensors").read_bytes()
    assert [kept.path.read_bytes() for kept in result.kept] == [kept.path.read_bytes() for kept in trained[0].kept]
    # all is there: asked once more, nothing runs
    again = MfluxTrainTrainer(small_data, ("false",)).train(asked, told.append)
    assert again.losses == result.losses


@pytest.mark.long
def test_flux2_klein_is_trained_over_its_base(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"iterations": 2, "modules": ("*.attn.*",), "kept_checkpoints": 1})
    asked = request("flux2-klein-4b", pictures[:2], tmp_path, recipe)
    result = MfluxTrainTrainer(small_data, SMALL_TRAIN).train(asked, lambda _progress: None)
    config = json.loads((tmp_path / "checkpoints" / "train.json").read_text())
    assert config["model"] == "flux2-klein-base-4b"
    names = open_safetensors(asked.output_path).tensors
    assert result.tensors == len(names) == 2 * (8 + 2 * 2)
    assert all(name.startswith("transformer.") for name in names)


FAKE = """
import json, os, pathlib, sys, time
run = pathlib.Path("run"); (run / "loss").mkdir(parents=True)
def tell(losses):
    data = json.dumps({"steps": list(losses), "losses": list(losses.values())})
    (run / "loss" / "loss.html").write_text(f"<script>\\n      const data = {data};\\n</script>")
print("Loading", file=sys.stderr); print("  3%|a bar| 1/30 [00:01<00:29]", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("raise ValueError('no weights here')", r"ended after iteration 0 of 8: ValueError: no weights here"),
        ("tell({1: 1.0, 2: 0.9}); time.sleep(1); sys.exit(0)", r"ended after iteration 2 of 8: Loading"),
        ("tell({1: 1.0}); time.sleep(1); os.kill(os.getpid(), 9)", r"after iteration 1 .*SIGKILL .*memory"),
        ("tell({1: 1.0, 3: 0.8}); time.sleep(60)", r"learning_rate: the loss became no number at iteration 2; lower"),
        ("tell({1: float('inf')}); time.sleep(60)", r"learning_rate: the loss became no number at iteration 1"),
        ("print('Skipped 8 non-finite (NaN/Inf) training step(s).')", r"the loss became no number at iteration 1"),
    ],
)
def test_a_failure_of_the_child_is_one_clear_error(
    script: str, problem: str, small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    trainer = MfluxTrainTrainer(small_data, (sys.executable, "-c", FAKE + script))
    asked = request("z-image", pictures, tmp_path)
    with pytest.raises(TrainingError, match=problem):
        trainer.train(asked, lambda _progress: None)
    assert not asked.output_path.exists()


def test_a_child_that_is_stopped_is_told_of_and_waited_for(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say = CarriesOut()
    monkeypatch.setattr(mflux_trainer, "_WATCH", replace(mflux_trainer._WATCH, say=say, look_s=0.05))
    script = f"{STOPS}; raise ValueError('went on')"
    with pytest.raises(TrainingError, match="went on"):
        MfluxTrainTrainer(small_data, (sys.executable, "-c", script)).train(
            request("z-image", pictures, tmp_path), lambda _progress: None
        )
    (told,) = say.told
    assert told.startswith("mflux-train (process ")


def test_the_child_asks_no_hub(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "sys.exit('offline is ' + os.environ['HF_HUB_OFFLINE'])"
    trainer = MfluxTrainTrainer(small_data, (sys.executable, "-c", FAKE + script))
    for written, told in ((None, "1"), ("", "1"), ("0", "0")):
        if written is None:
            monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        else:
            monkeypatch.setenv("HF_HUB_OFFLINE", written)
        with pytest.raises(TrainingError, match=f"offline is {told};"):
            trainer.train(request("z-image", pictures, tmp_path / f"is {written}"), lambda _progress: None)


def test_its_pictures_are_those_of_the_plan(small_data: DataDir, tmp_path: Path) -> None:
    """Of the size that is trained at, and without those that are held out; with `crop_min` 1 they are mlx's too."""
    rng, paths = np.random.default_rng(0), [tmp_path / f"{index:02d}.png" for index in range(20)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (50, 90, 3), dtype=np.uint8)).save(path)
    recipe = RECIPE.model_copy(update={"held_out_pairs": 2, "crop_min": 1.0, "resolution": (48, 32)})
    asked = request("z-image", tuple(TrainingExample(path, "old_print") for path in paths), tmp_path, recipe)
    with pytest.raises(TrainingError, match="ended here"):
        MfluxTrainTrainer(small_data, (sys.executable, "-c", "raise SystemExit('ended here')")).train(asked, print)
    written = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "checkpoints/data").glob("*.png"))]
    trained = [path for index, path in enumerate(paths) if index not in (5, 15)]
    planned = plan_crops(trained, asked.plan.crops, np.random.default_rng(3))
    assert [picture.tolist() for picture in written] == [picture.pixels()[0].tolist() for picture in planned]


def test_aspect_buckets_and_other_crops_are_refused_as_they_would_not_be_the_recipes(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"aspect_buckets": True, "crop_min": 0.5})
    with pytest.raises(TrainingError) as caught:
        MfluxTrainTrainer(small_data).train(request("z-image", pictures, tmp_path, recipe), lambda _progress: None)
    assert [fault.field for fault in caught.value.faults] == ["aspect_buckets", "crop_min"]


def test_every_field_that_it_cannot_do_is_named(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    recipe = Recipe(
        alpha=4.0,
        rank=2,
        caption_dropout=0.1,
        prior_mix=0.5,
        prior_prompts=("a town",),
        guidance=2.0,
        modules=("layers.*", "double_blocks.*"),
        iterations=601,
    )
    with pytest.raises(TrainingError) as caught:
        MfluxTrainTrainer(small_data).train(request("z-image", pictures, tmp_path, recipe), lambda _progress: None)
    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["alpha", "guidance", "caption_dropout", "prior_mix", "modules[1]", "iterations"]
    assert caught.value.faults[-1].hint == "make it a multiple of 48"


@pytest.mark.parametrize("name", ["tiny-flux", "flux1-dev"])
def test_flux1_is_not_its_business(
    name: str, small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=f"mflux-train trains Z-Image and FLUX.2, not {name}; use `trainer: mlx`"):
        factory.trainer(small_data, "mflux-train").train(request(name, pictures, tmp_path), lambda _progress: None)


def test_a_distilled_model_needs_its_assistant(
    small_data: DataDir, pictures: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    (small_data.models_root / "z-image-turbo").symlink_to(small_data.models_root / "z-image")
    asked = request("z-image-turbo", pictures, tmp_path)
    for offline in ("", "1"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        with pytest.raises(BaseModelError, match=r"hf download ostris/zimage_turbo_training_adapter zimage_turbo"):
            MfluxTrainTrainer(small_data, ("false",)).train(asked, lambda _progress: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # a person allowed the download
    with pytest.raises(TrainingError, match="mflux-train ended after iteration 0"):
        MfluxTrainTrainer(small_data, ("false",)).train(asked, lambda _progress: None)


@pytest.mark.parametrize(
    ("changes", "pictures_in_all", "interval", "kept"),
    [
        ({"iterations": 600}, 750, 40, (200, 400, 600)),
        ({"iterations": 600, "grad_accumulation": 1}, 750, 50, (200, 400, 600)),
        ({"iterations": 601, "grad_accumulation": 1}, 601, 50, (200, 400, 601)),  # an epoch's end
        ({"iterations": 601, "grad_accumulation": 1}, 750, None, ()),
        ({"iterations": 4, "kept_checkpoints": 4}, 7, 4, (4,)),
        ({"iterations": 10, "grad_accumulation": 4}, 7, None, ()),
        ({"iterations": 10, "grad_accumulation": 1, "checkpoint_interval": 100}, 7, 10, (10,)),
    ],
)
def test_checkpoints_fall_between_optimizer_steps_and_on_the_last_iteration(
    changes: dict[str, Any], pictures_in_all: int, interval: int | None, kept: tuple[int, ...]
) -> None:
    plan = plan_checkpoints(Recipe(**changes), pictures_in_all)
    assert (plan and plan.interval, plan.kept if plan else ()) == (interval, kept)


def test_pictures_are_cut_to_one_size() -> None:
    size, picture = SizePx(64, 64), Image.fromarray(np.arange(200 * 100 * 3, dtype=np.uint8).reshape(100, 200, 3))
    for recipe in (Recipe(), Recipe(crop_min=1.0)):
        cuts = [cut_picture(picture, crops_of(recipe, size), np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert {cut.size for cut in cuts} == {(64, 64)}
        assert cuts[0].tobytes() == cuts[1].tobytes()
        assert (cuts[0].tobytes() == cuts[2].tobytes()) == (recipe.crop_min == 1)


def test_a_mirrored_cut_is_the_same_cut_mirrored() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    size, seen = SizePx(48, 32), set[bool]()
    for seed in range(8):
        plain, flipped = (
            np.asarray(cut_picture(picture, crops_of(Recipe(flip=flip), size), np.random.default_rng(seed)))
            for flip in (False, True)
        )
        seen.add(np.array_equal(plain, flipped))
        assert np.array_equal(plain, flipped) or np.array_equal(plain, flipped[:, ::-1])
    assert seen == {True, False}


def test_a_checkpoint_that_was_cut_off_is_not_whole(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "0000002_checkpoint.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint.json", "{}" * 500)
    assert is_whole(path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:40] + b"x" + content[41:], b""):
        path.write_bytes(damaged)
        assert not is_whole(path)


@pytest.mark.parametrize("kept", [(2, 6), (2, 4, 6, 8), (8,)])
def test_checkpoints_that_came_all_at_once_are_each_taken_up_before_they_go(
    kept: tuple[int, ...], tmp_path: Path
) -> None:
    import zipfile

    folder = TrainFolder(tmp_path)
    folder.open("x")
    zips = tmp_path / "run" / "checkpoints"
    zips.mkdir(parents=True)
    for iteration in range(2, 12, 2):
        with zipfile.ZipFile(zips / f"{iteration:07d}_checkpoint.zip", "w") as archive:
            archive.writestr("checkpoint.json", "{}")
            archive.writestr(f"{iteration:07d}_adapter.safetensors", str(iteration))
    for iteration, path in folder.new_checkpoints():
        folder.adopt(iteration, path, float(iteration), kept)
    assert {path.name: path.read_text() for path in (tmp_path / "kept").iterdir()} == {
        f"{iteration:07d}.safetensors": str(iteration) for iteration in kept
    }
    assert sorted(folder.checkpoints()) == [8, 10]
    folder.remove_after(8)
    assert sorted(folder.checkpoints()) == [8]


def test_training_another_recipe_begins_anew(
    trained: tuple[TrainResult, list[TrainProgress], Path],
    small_data: DataDir,
    pictures: tuple[TrainingExample, ...],
    tmp_path: Path,
) -> None:
    """What is in the folder is continued only where everything that settles the adapter is the same."""
    import shutil

    seen: list[str] = []
    changes: list[Callable[[TrainRequest], TrainRequest]] = [
        lambda asked: replace(asked, recipe=RECIPE.model_copy(update={"learning_rate": 2e-3})),
        lambda asked: replace(asked, examples=asked.examples[::-1]),
        lambda asked: replace(asked, checkpoints=CheckpointPlace(asked.checkpoints.folder, "y")),  # type: ignore[union-attr]
    ]
    for index, change in enumerate(changes):
        folder = tmp_path / str(index)
        shutil.copytree(trained[2] / "checkpoints", folder / "checkpoints")
        script = "sys.exit(' '.join(sys.argv[1:]))"
        trainer = MfluxTrainTrainer(small_data, (sys.executable, "-c", FAKE + script))
        with pytest.raises(TrainingError) as caught:
            trainer.train(change(request("z-image", pictures, folder)), lambda _progress: None)
        seen.append(caught.value.faults[0].problem)
    assert all(problem.endswith("--config train.json") for problem in seen), seen


def test_the_registry_knows_it() -> None:
    description = versions.describe_mflux_train()
    assert description.name == "mflux-train"
    assert {"mflux", "mlx"} <= description.versions.keys()
    assert "z-image" in BASE_MODELS
