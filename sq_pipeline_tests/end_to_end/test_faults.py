"""What a person gets wrong, at the command line with the real engines: one clear line, exit 1, nothing half-made."""

import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.adapters.files import metadata_of
from sq_pipeline_tests.end_to_end.conftest import COMMAND, Demo, run_command

pytestmark = [pytest.mark.long, pytest.mark.takes(s=60)]

COMMANDS = ("run", "plan", "prompts")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_data_directory(command: str, tmp_path: Path) -> None:
    answer = run_command(command, "--data", tmp_path / "nowhere")
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("not a data directory (no `content` folder); `sq-pipeline demo DIR` makes one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("world", "told"),
    [("sea/reef", "there is no genre 'sea'"), ("neon_tides/reef", "there is no world 'neon_tides/reef'")],
)
def test_an_unknown_world(command: str, world: str, told: str, small: Demo) -> None:
    answer = run_command(command, "--world", world, "--data", small.data.root)
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert told in line
    assert "neon_tides/harbour_of_glass" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chapters: [", "line 2"),
        ("chapters:\n  - title: a\n    title: b\n", "the key 'title' is there twice"),
        ("chapters: 7\n", "chapters: is a number, not a list"),
    ],
)
def test_yaml_that_cannot_be_read_stops_its_world_only(text: str, told: str, copy: DataDir) -> None:
    (copy.world_root("neon_tides", "harbour_of_glass") / "history.yaml").write_text(text)
    alone = run_command("run", "--world", "neon_tides/harbour_of_glass", "--data", copy.root)
    assert alone.code == 1
    (line,) = (line for line in alone.out.splitlines() if line.startswith(("failed: ", "blocked: ")))
    assert line.startswith("failed: content/genre_packs/neon_tides/worlds/harbour_of_glass/history.yaml: ")
    assert told in line
    everything = run_command("run", "--data", copy.root, "--json")
    assert everything.code == 1
    assert told in everything.report["failed"][0]["reason"]
    assert everything.report["skipped"] > 40


def test_an_unknown_setting(copy: DataDir) -> None:
    copy.settings_file.write_text("promotoin: automatic\n")
    answer = run_command("plan", "--data", copy.root)
    assert (answer.code, answer.err) == (
        1,
        "error: sq.yaml: promotoin: unknown key; did you mean `promotion`?\n",
    )


def test_a_base_model_that_is_not_here(copy: DataDir) -> None:
    style = copy.genre_root("neon_tides") / "visual_style.yaml"
    style.write_text(f"{style.read_text()}preferred_model: dev\n")
    answer = run_command("run", "--world", "neon_tides/harbour_of_glass", "--data", copy.root)
    assert answer.code == 1
    assert "flux1-dev is not on this machine" in answer.out
    assert "hf download black-forest-labs/FLUX.1-dev" in " ".join(answer.out.split())


def test_a_dataset_of_three_images(small: Demo, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    source = small.data.datasets_root / "neon_tides/landscape"
    for name in ("000.png", "000.txt", "001.png", "001.txt", "002.png", "002.txt"):
        shutil.copy(source / name, folder / name)
    (folder / "lora.yaml").write_text("trigger: neon_tides\n")
    (folder / "003.png").write_bytes((source / "003.png").read_bytes()[:900])
    (folder / "003.txt").write_text("neon_tides\n")
    shutil.copy(source / "004.png", folder / "004.png")
    answer = run_command("dataset", "check", folder)
    assert answer.code == 1
    lines = answer.err.splitlines()
    assert len(lines) == 3
    assert any("4 pairs of image and caption, at least 150 are needed" in line for line in lines)
    assert any("003.png: cannot be decoded" in line for line in lines)
    assert any("004.png: has no caption" in line for line in lines)


def test_an_adapter_that_is_cut_off_or_holds_nan(small: Demo, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    whole = small.data.lora_root / "neon_tides/landscape.safetensors"
    cut, spoilt = tmp_path / "cut.safetensors", tmp_path / "nan.safetensors"
    cut.write_bytes(whole.read_bytes()[:-100])
    tensors = load_file(whole)
    name = "lora_unet_single_blocks_0_linear2.lora_up.weight"
    tensors[name] = tensors[name].copy()
    tensors[name][3, 1] = np.nan
    save_file(tensors, spoilt, metadata_of(whole))
    answer = run_command("adapter", "verify", cut, "--trigger", "neon_tides", "--data", small.data.root)
    assert answer.code == 1
    assert "cut off" in answer.err
    told = run_command("adapter", "inspect", spoilt, "--json").report["faults"]
    assert told == [f"{name}: holds NaN or infinity"]
    answer = run_command("adapter", "verify", spoilt, "--trigger", "neon_tides", "--data", small.data.root)
    assert answer.code == 1


def test_a_promoted_adapter_verifies_and_a_zero_one_does_not(small: Demo, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    whole = small.data.lora_root / "spaghetti_western/landscape.safetensors"
    trigger = ("--trigger", "spaghetti_western", "--json", "--data", small.data.root)
    assert run_command("adapter", "verify", whole, *trigger).report["has_passed"]
    nothing = tmp_path / "zero.safetensors"
    save_file({key: np.zeros_like(array) for key, array in load_file(whole).items()}, nothing)
    answer = run_command("adapter", "verify", nothing, *trigger)
    assert answer.code == 1
    outcomes = {verdict["check"]: verdict["outcome"] for verdict in answer.report["verdicts"]}
    assert outcomes == {"adapter fidelity": "passed", "adapter file": "failed"}


def count_records(data: DataDir, kind: str) -> int:
    with closing(sqlite3.connect(data.store_root / "records.sqlite", timeout=60)) as records:
        return records.execute("SELECT count(*) FROM records WHERE kind = ?", (kind,)).fetchone()[0]


def interrupt(data: DataDir, *, when_there: str) -> subprocess.CompletedProcess[str]:
    """`run`, and Ctrl-C as soon as it has kept a record of this kind."""
    known = count_records(data, when_there)
    process = subprocess.Popen(
        [COMMAND, "run", "--data", str(data.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 120
    while count_records(data, when_there) == known and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def test_ctrl_c_while_training(copy: DataDir) -> None:
    """The dataset of an adapter is checked, its training begins, and is broken off."""
    recipe = copy.datasets_root / "neon_tides/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("iterations: 4", "iterations: 4000"))
    answer = interrupt(copy, when_there="training_dataset")
    assert answer.returncode == 130
    assert answer.stderr.splitlines()[-1] == "interrupted: what was finished is kept, nothing half-written"
    assert not list(copy.root.rglob("*.part*"))
    stale = {item["asset"] for item in run_command("plan", "--data", copy.root, "--json").report["stale"]}
    assert "neon_tides/loras/neon_tides_landscape/training_dataset" not in stale
    assert "neon_tides/loras/neon_tides_landscape/mlx_adapter" in stale


def test_ctrl_c_while_rendering_keeps_what_was_finished(copy: DataDir) -> None:
    style = copy.genre_root("spaghetti_western") / "visual_style.yaml"
    style.write_text(style.read_text().replace("base_seed: 1\n", "base_seed: 2\n"))
    before = count_records(copy, "picture")
    answer = interrupt(copy, when_there="picture")
    assert answer.returncode == 130
    assert answer.stderr.splitlines()[-1] == "interrupted: what was finished is kept, nothing half-written"
    assert not list(copy.root.rglob("*.part*"))
    finished = count_records(copy, "picture") - before
    assert 1 <= finished < 9
    report = run_command("run", "--data", copy.root, "--json").report
    assert len(report["rendered"]) == 9 - finished
