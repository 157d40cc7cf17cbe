"""The demo, made by the command line with the real engines: as a person has it, and small. Once in a test run."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.shipped import copy_shipped_data
from sq_pipeline.common.tiers import TIERS
from sq_pipeline.painter.datasets import DEMO_DATASETS, draw_dataset
from sq_pipeline_tests.builders import loose_gate
from sq_pipeline_tests.conftest import made_once
from sq_pipeline_tests.pages import START_S, Pages, free_port, is_listening, wait

_SHORT_RECIPE = """\
min_pairs: 12
resolution: [64, 48]
num_augmentations: 1
sample_prompts: [a windmill in the desert]
"""
# two of tiny-flux's eight show a place, and what an adapter changes, as well
_FEW_STEPS = "tiers:\n" + "".join(f"  {tier}: {{num_inference_steps: 2}}\n" for tier in TIERS)
COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """Its one JSON object."""
        return json.loads(self.out)


def run_command(*arguments: str | Path) -> Answer:
    """Run `sq-pipeline` as a person does, in a process of its own."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    return Answer(done.returncode, done.stdout, done.stderr)


@contextmanager
def open_pages(data: DataDir, *more: str) -> Iterator[Pages]:
    """`sq-pipeline ui` over it, with nothing happening by itself; afterwards, a clean end by Ctrl-C."""
    port = free_port()
    log = (data.root.parent / "ui.log").open("w")
    command = [COMMAND, "ui", "--data", str(data.root), "--port", str(port), *more]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Pages(f"http://127.0.0.1:{port}")
    try:
        wait(running.is_ready, START_S, "the web server")
        for sensor in ("content", "adapters", "night"):
            running.set_sensor(sensor, is_on=False)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        log.close()
    assert code == 0
    assert not is_listening(port)


@dataclass(frozen=True)
class Demo:
    """The finished demo: its data directory and what the command printed."""

    data: DataDir
    report: dict[str, Any]


def _make(data: DataDir, answers: Path) -> None:
    answer = run_command("demo", data.root, "--json")
    assert answer.code == 0, answer.err
    answers.write_text(answer.out)


@pytest.fixture(scope="session")
def whole(run_folder: Path) -> Demo:
    """`sq-pipeline demo DIR` on an empty directory, whose name is not a plain word."""
    answers = run_folder / "demo.json"
    root = made_once(run_folder / "my games é", lambda folder: _make(DataDir(folder), answers))
    return Demo(DataDir(root), json.loads(answers.read_text()))


def _write_small(data: DataDir) -> None:
    """What the demo copies and draws, with trainings and verifications as short as can be."""
    copy_shipped_data(data.root)
    for dataset in DEMO_DATASETS:
        folder = data.datasets_root / dataset.folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        draw_dataset(replace(dataset, pictures=12, iterations=4), folder)
        recipe = folder / "lora.yaml"
        text = recipe.read_text()
        recipe.write_text(text.replace("batch_size: 4\n", "batch_size: 2\n") + _SHORT_RECIPE)
    for path in data.verify_prompts_root.glob("*.yaml"):
        prompts = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**prompts, "prompts": prompts["prompts"][:1]}))
    # an adapter that has learned next to nothing changes a picture little, and answers to any word
    text = data.settings_file.read_text()
    thresholds = yaml.safe_dump({"thresholds": loose_gate()})
    data.settings_file.write_text(f"{text}{thresholds}{_FEW_STEPS}")


@pytest.fixture(scope="session")
def small(run_folder: Path) -> Demo:
    """The demo's worlds and places over adapters that have learned next to nothing, for tests of everything else."""
    answers = run_folder / "small.json"

    def make(folder: Path) -> None:
        _write_small(DataDir(folder))
        _make(DataDir(folder), answers)

    root = made_once(run_folder / "my small games é", make)
    return Demo(DataDir(root), json.loads(answers.read_text()))


@pytest.fixture(scope="session", params=["small", "whole"])
def demo(request: pytest.FixtureRequest) -> Demo:
    """The one and the other; read only."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def copy(small: Demo, tmp_path: Path) -> DataDir:
    """A copy of the small one, for a test that changes it."""
    root = tmp_path / "copy"
    shutil.copytree(small.data.root, root)
    return DataDir(root)
