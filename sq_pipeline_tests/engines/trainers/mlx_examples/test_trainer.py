"""mlx-examples as a trainer, over a checkout whose script is a fake with the same arguments, lines and files."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sq_pipeline.common.errors import TrainingError
from sq_pipeline.engines import factory
from sq_pipeline.engines.trainers.mlx_examples import trainer
from sq_pipeline.engines.trainers.mlx_examples.output import last_error
from sq_pipeline.engines.trainers.mlx_examples.recipe import checkpoint_every
from sq_pipeline.training.ports import TrainingExample, TrainProgress
from sq_pipeline_tests.common.stops import CarriesOut
from sq_pipeline_tests.engines.trainers.mlx_examples.mlx_examples_place import RECIPE, Place, draw_pictures, make_place

GIB = 1024**3


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path, monkeypatch)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[TrainingExample, ...]:
    return draw_pictures(tmp_path / "pictures", 3)


def left(place: Place) -> list[str]:
    return sorted(path.name for path in (place.data.root / "checkpoints").glob("*"))


def faults_of(place: Place, request: Any) -> list[str]:
    with pytest.raises(TrainingError) as caught:
        factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
    assert not request.output_path.exists()
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("form", ["old", "new"])
def test_a_training(place: Place, pictures: tuple[TrainingExample, ...], form: str) -> None:
    place.switch(form=form)
    told: list[TrainProgress] = []
    request = place.request(pictures, recipe={"sample_interval": 15, "checkpoint_interval": 5})
    result = factory.trainer(place.data, "mlx-examples").train(request, told.append)
    folder = place.data.root / "checkpoints"
    assert [(p.iteration, p.iterations, p.loss) for p in told] == [(10, 30, 0.1), (20, 30, 0.05), (30, 30, 0.033)]
    assert [p.sample and p.sample.name for p in told] == ["0000000_progress.png", "0000015_progress.png", None]
    assert told[-1].memory_bytes == int(1.03 * GIB)
    assert (result.losses, result.tensors, result.peak_memory_bytes) == ((0.1, 0.05, 0.033), 26, int(1.03 * GIB))
    assert [kept.iteration for kept in result.kept] == [10, 20, 30]
    assert [kept.path for kept in result.kept[:2]] == [folder / f"00000{n}_adapters.safetensors" for n in (10, 20)]
    assert result.kept[-1].path == request.output_path
    assert [(n, path.name) for n, path in result.samples] == [(n, f"{n:07d}_progress.png") for n in (0, 15, 30)]
    saved = [f"00000{n}_adapters.safetensors" for n in (10, 20)]
    config = ["adapter_config.json"] if form == "new" else []
    pngs = [f"{n:07d}_progress.png" for n in (0, 15, 30)]
    assert left(place) == sorted([*saved, *config, *pngs, "mlx-examples.log"])
    log = (folder / "mlx-examples.log").read_text()
    assert "Iter: 20 Loss: 0.050" in log
    assert "encode: 100%" in log


def test_every_parameter_arrives(place: Place, pictures: tuple[TrainingExample, ...]) -> None:
    recipe = {
        "rank": 3, "alpha": 3.0, "iterations": 24, "batch_size": 3, "grad_accumulation": 2, "learning_rate": 0.00025,
        "warmup_steps": 7, "guidance": 3.25, "resolution": (48, 32), "num_augmentations": 4, "kept_checkpoints": 2,
        "sample_interval": 9, "checkpoint_interval": 50,
    }  # fmt: skip
    request = place.request(pictures, recipe=recipe, sample_prompts=("--a dash, and more", "never drawn"))
    factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
    told = place.told
    assert told.pop("dataset").endswith("dataset")
    assert told.pop("cwd").endswith("mlx_examples_fake/flux")
    assert told.pop("output_dir") == str(place.data.root / "checkpoints")
    assert [seen[0] for seen in told.pop("seen")] == ["west"] * 3
    assert told == {
        "model": "dev", "guidance": 3.25, "iterations": 24, "batch_size": 3, "resolution": [48, 32],
        "num_augmentations": 4, "progress_prompt": "--a dash, and more", "progress_steps": 25, "progress_every": 9,
        "checkpoint_every": 12, "lora_blocks": -1, "lora_rank": 3, "warmup_steps": 7, "learning_rate": 0.00025,
        "grad_accumulate": 2, "offline": "1",
    }  # fmt: skip


def test_without_prompts_and_checkpoints_it_draws_and_keeps_as_little_as_it_can(
    place: Place, pictures: tuple[TrainingExample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    (place.hub / "ae.safetensors").unlink()  # a person allowed the download
    request = place.request(pictures, checkpoints=None, sample_prompts=())
    result = factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
    told = place.told
    assert [told[name] for name in ("progress_steps", "progress_every", "checkpoint_every")] == [1, 31, 30]
    assert (told["progress_prompt"], told["offline"]) == ("west", "0")
    assert ([kept.path for kept in result.kept], result.samples) == ([request.output_path], ())


def test_an_empty_hf_hub_offline_is_one_that_is_not_set(
    place: Place, pictures: tuple[TrainingExample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    factory.trainer(place.data, "mlx-examples").train(place.request(pictures), lambda _: None)
    assert place.told["offline"] == "1"
    (place.hub / "ae.safetensors").unlink()
    (fault,) = faults_of(place, place.request(pictures, output_path=place.data.root / "out/other.safetensors"))
    assert "Hugging Face cache" in fault


def test_pictures_it_cannot_take_are_written_as_upright_rgb_and_some_are_held_out(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    pictures = draw_pictures(folder, 20)
    Image.new("L", (40, 40), 7).save(folder / "00.png")
    Image.new("P", (40, 40), 0).save(folder / "01.png")
    Image.new("RGBA", (40, 40), (1, 2, 3, 255)).save(folder / "02.png")
    turned = Image.new("RGB", (60, 40), (9, 9, 9))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "03.png", exif=exif)
    request = place.request(pictures, recipe={"held_out_pairs": 2})
    factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
    seen = place.told["seen"]
    assert [shape for _, shape, _ in seen] == [[40, 40, 3]] * 3 + [[60, 40, 3]] + [[48, 48, 3]] * 14
    assert [colour for *_, colour in seen[:4]] == [[7, 7, 7], [0, 0, 0], [1, 2, 3], [9, 9, 9]]
    kept = [index for index in range(20) if index not in (5, 15)]
    assert [colour[0] // 10 for *_, colour in seen[4:]] == kept[4:]


REFUSED = {
    "alpha": 4.0, "modules": ("single_blocks.*",), "aspect_buckets": True, "crop_min": 0.5, "flip": True,
    "caption_dropout": 0.1, "prior_mix": 0.2, "base_bits": 4, "gradient_checkpointing": True, "seed": 1,
    "sample_prompts": ("a", "b"), "warmup_steps": 0, "iterations": 9, "batch_size": 7,
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_what_it_cannot_do_is_refused_by_its_field(
    place: Place, pictures: tuple[TrainingExample, ...], field: str
) -> None:
    (fault,) = faults_of(place, place.request(pictures, recipe={field: REFUSED[field]}))
    assert fault.startswith(f"lora.yaml: {field}: mlx-examples ")
    assert not (place.data.root / "told.json").exists()


def test_all_faults_come_at_once(place: Place, pictures: tuple[TrainingExample, ...], tmp_path: Path) -> None:
    place.data.settings_file.write_text("mlx_examples: {checkout: nowhere}\n")
    (place.hub / "ae.safetensors").unlink()
    (place.hub / "text_encoder_2/model.safetensors.index.json").unlink()
    small = draw_pictures(tmp_path / "small", 1, side=16)
    found = faults_of(place, place.request((*pictures, *small), recipe=REFUSED))
    for field in REFUSED:
        assert any(fault.startswith(f"lora.yaml: {field}: ") for fault in found), field
    assert any("sq.yaml: mlx_examples.checkout: there is no folder" in fault for fault in found)
    assert any("00.png: is 16×16 pixels, the training resolution is 32×32" in fault for fault in found)
    (weights,) = [fault for fault in found if "Hugging Face cache" in fault]
    for part in ("accept the licence", "`hf auth login`", "`hf download black-forest-labs/FLUX.1-dev ae.safetensors "):
        assert part in weights
    assert "text_encoder_2/model-00002-of-00002.safetensors`" in weights
    assert len(found) == len(REFUSED) + 3


def test_other_base_models_are_refused(place: Place, pictures: tuple[TrainingExample, ...]) -> None:
    (fault,) = faults_of(place, place.request(pictures, base_model="tiny-flux", recipe={"resolution": (32, 32)}))
    assert "base_model: mlx-examples does not train tiny-flux; use flux1-dev or flux1-schnell" in fault


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        ("cut", "is cut off"),
        ("nan", "holds NaN or infinity in "),
        ("missing", "has no double_blocks.0."),
        ("extra", "holds img_in.lora_a, which is not in this base model"),
        ("shape", "other shapes than this base model and rank"),
        ("dtype", "dtypes that no adapter has"),
        ("zeros", "adds nothing"),
    ],
)
def test_a_damaged_adapter_is_not_taken(
    place: Place, pictures: tuple[TrainingExample, ...], damage: str, part: str
) -> None:
    place.switch(damage=damage)
    found = faults_of(place, place.request(pictures))
    assert any(fault.startswith("final_adapters.safetensors: ") and part in fault for fault in found), found


def test_its_error_is_shown_and_its_log_kept(place: Place, pictures: tuple[TrainingExample, ...]) -> None:
    place.switch(fail_at=25)
    (fault,) = faults_of(place, place.request(pictures))
    log = place.data.root / "checkpoints/mlx-examples.log"
    assert fault == f"mlx-examples failed: ValueError: [load] no such thing; its whole output is in {log}"
    assert "0000020_adapters.safetensors" in left(place)
    place.switch(fail_at=None)
    factory.trainer(place.data, "mlx-examples").train(place.request(pictures), lambda _: None)
    assert "ValueError" not in log.read_text()


def test_a_loss_that_is_no_number_stops_it(place: Place, pictures: tuple[TrainingExample, ...]) -> None:
    place.switch(nan_at=30, hang_at=31)
    request = place.request(pictures, recipe={"iterations": 60, "kept_checkpoints": 6})
    (fault,) = faults_of(place, request)
    last = place.data.root / "checkpoints/0000020_adapters.safetensors"
    assert f"learning_rate: the loss became nan by iteration 30; the last good adapter is {last};" in fault
    assert has_ended(place.data.root / "pid")


def test_one_that_is_stopped_is_told_of_and_waited_for(
    place: Place, pictures: tuple[TrainingExample, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    say = CarriesOut()
    monkeypatch.setattr(trainer, "_WATCH", replace(trainer._WATCH, say=say, look_s=0.05))
    place.switch(stop_at=15)
    result = factory.trainer(place.data, "mlx-examples").train(place.request(pictures), lambda _: None)
    assert result.tensors > 0
    (told,) = say.told
    assert told.startswith("mlx-examples (process ")


def has_ended(pid: Path) -> bool:
    """True when the script is gone, within some seconds; `pid` is the file it tells its number in."""
    for _ in range(150):
        try:
            state = Path(f"/proc/{pid.read_text()}/stat").read_text() if sys.platform == "linux" else ""
            os.kill(int(pid.read_text()), 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        if ") Z " in state:  # ended, and not yet seen to by its parent
            return True
        time.sleep(0.1)
    return False


SCRIPT = """
import sys
from pathlib import Path
import pytest
from sq_pipeline.engines import factory
from sq_pipeline_tests.engines.trainers.mlx_examples.mlx_examples_place import draw_pictures, make_place
root = Path(sys.argv[1])
with pytest.MonkeyPatch.context() as patch:
    place = make_place(root, patch)
    place.switch(hang_at=15)
    request = place.request(draw_pictures(root / "pictures", 3))
    factory.trainer(place.data, "mlx-examples").train(request, lambda _: None)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_who_started_it(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C ends it in order; after kill -9 the guard does."""
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "data/pid"
    while not pid.with_name("hangs").exists():
        assert parent.poll() is None, parent.communicate()
        time.sleep(0.05)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=30)
    assert parent.returncode != 0
    assert number != signal.SIGINT or "KeyboardInterrupt" in errors
    assert has_ended(pid)
    assert not (tmp_path / "data/out/final.safetensors").exists()


def test_an_interruption_from_the_progress_ends_it_too(place: Place, pictures: tuple[TrainingExample, ...]) -> None:
    place.switch(hang_at=15)

    def interrupt(_progress: TrainProgress) -> None:
        raise KeyboardInterrupt

    request = place.request(pictures)
    with pytest.raises(KeyboardInterrupt):
        factory.trainer(place.data, "mlx-examples").train(request, interrupt)
    assert has_ended(place.data.root / "pid")
    assert not request.output_path.exists()


@pytest.mark.parametrize(
    ("iterations", "kept", "interval", "expected"),
    [(600, 3, 50, 50), (600, 3, 60, 200), (600, 4, 50, 50), (100, 3, 50, 1), (30, 1, 7, 30), (90, 3, 15, 15)],
)
def test_what_is_kept_is_saved(iterations: int, kept: int, interval: int, expected: int) -> None:
    more = {"iterations": iterations, "kept_checkpoints": kept, "checkpoint_interval": interval}
    recipe = RECIPE.model_copy(update=more)
    assert checkpoint_every(recipe, is_kept=True) == expected
    assert all(iteration % expected == 0 for iteration in recipe.kept_iterations())


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", "it said nothing"),
        ("usage: x\nx: error: unrecognized arguments: --y\n", "x: error: unrecognized arguments: --y"),
        ("Killed\nencode: 10%|##| 1/9\r", "Killed"),
        ("Traceback (most recent call last):\n  File x\n    y\nOSError: one\ntwo\n", "OSError: one"),
        (
            "Traceback (most recent call last):\n  a\nA: 1\n\nDuring\n\nTraceback (most recent call last):\n  b\nB: 2",
            "B: 2",
        ),
    ],
)
def test_the_line_that_says_why(log: str, expected: str) -> None:
    assert last_error(log) == expected
