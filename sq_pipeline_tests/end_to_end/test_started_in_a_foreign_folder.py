"""Whoever works in a data directory of somebody's runs no module, and takes no environment, that lies in it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.trainers.mflux_train.trainer import _COMMAND  # pyright: ignore[reportPrivateUsage]
from sq_pipeline_tests.end_to_end.conftest import COMMAND
from sq_pipeline_tests.pages import START_S, Pages, free_port, wait
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml

pytestmark = [pytest.mark.long, pytest.mark.takes(s=40)]

MODULES = ("dagster", "sq_pipeline", "mflux", "mlx", "numpy", "yaml", "typing_extensions", "sitecustomize")


def plant(folder: Path) -> None:
    """Each leaves a mark. `.env` would have Python take modules from there too."""
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'was-run')!r}, 'w')\n")
    (folder / ".env").write_text(f"PYTHONPATH={folder}\nPLANTED=1\n")


@pytest.fixture
def planted(data: DataDir) -> DataDir:
    write_yaml(data.genre_root("west") / "visual_style.yaml", {"positive_suffix": "wide"})
    write_yaml(data.genre_root("west") / "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"))]})
    plant(data.root)
    return data


def test_the_pages(planted: DataDir) -> None:
    port = free_port()
    log = planted.root.parent / "ui.log"
    command = [COMMAND, "ui", "--data", ".", "--port", str(port)]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=planted.root, stdout=file, stderr=file)
        try:
            pages = Pages(f"http://127.0.0.1:{port}")
            wait(pages.is_ready, START_S, "the web server")
            names = [
                node["assetKey"]["path"][-1] for node in pages.ask("{ assetNodes { assetKey { path } } }")["assetNodes"]
            ]
            assert "poi_images" in names
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert ".env" not in log.read_text()
    assert not (planted.root / "was-run").exists()


@pytest.mark.parametrize("command", [("plan",), ("prompts",), ("run",)])
def test_a_command(planted: DataDir, command: tuple[str, ...]) -> None:
    subprocess.run([COMMAND, *command, "--data", "."], cwd=planted.root, check=True, capture_output=True)
    assert not (planted.root / "was-run").exists()


def test_the_process_of_a_training(planted: DataDir) -> None:
    """It runs in a folder of the store, which comes along with a data directory."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    told = subprocess.run([*_COMMAND, "--help"], cwd=planted.root, env=environment, capture_output=True, text=True)
    assert "--config" in told.stdout, told.stderr
    assert not (planted.root / "was-run").exists()
