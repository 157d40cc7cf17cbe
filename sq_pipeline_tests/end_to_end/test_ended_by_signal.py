"""A run that a signal ends in a training: what is said, and that the next one goes on to the same bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.verification.gate_limits import IS_UPPER, LIMIT_NAMES
from sq_pipeline_tests.cases.recipes import build_data

pytestmark = [pytest.mark.long, pytest.mark.takes(s=90)]

_ADAPTER = "content/lora/west/landscape.safetensors"
_ITERATION = 6
# a training of a moment shows no style, and its file is wanted all the same
_LIMITS = "".join(
    f"    {name}: {{value: {9 if name in IS_UPPER else -9}, reason: trained for a moment}}\n" for name in LIMIT_NAMES
)
_SETTINGS = f"thresholds:\n  gate:\n{_LIMITS}"
# the command itself, with a planted end where a native library would give up
_PLANTED = f"""
import os, sys
from sq_pipeline.cli import main
import sq_pipeline.engines
from sq_pipeline.engines.trainers.mlx import loop
advance = loop.TrainingLoop.advance
def dying(self):
    if self.iteration + 1 == {_ITERATION} and int(os.environ["PLANTED"]):
        os.kill(os.getpid(), int(os.environ["PLANTED"]))
    return advance(self)
loop.TrainingLoop.advance = dying
main()
"""


def _run(root: Path, number: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _PLANTED, "run", "--data", str(root)]
    environment = {**os.environ, "PLANTED": str(number)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> bytes:
    root = tmp_path_factory.mktemp("undisturbed")
    build_data(root, shipped.root, {}, _SETTINGS)
    done = _run(root, 0)
    assert done.returncode == 0, done.stderr
    assert "ended" not in done.stderr
    return (root / _ADAPTER).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
def test_a_run_that_a_signal_ends_says_so_and_the_next_goes_on(
    number: signal.Signals, undisturbed: bytes, tmp_path: Path, shipped: DataDir
) -> None:
    build_data(tmp_path, shipped.root, {}, _SETTINGS)
    ended = _run(tmp_path, number)
    assert ended.returncode == -number
    said = [line for line in ended.stderr.splitlines() if number.name in line]
    assert len(said) == 1
    assert "(often: " in said[0]
    assert said[0].endswith("; the next run goes on after iteration 4")
    again = _run(tmp_path, 0)
    assert again.returncode == 0, again.stderr
    assert f"before this, {said[0]}" in again.stderr.splitlines()
    assert (tmp_path / _ADAPTER).read_bytes() == undisturbed
    assert not (tmp_path / "store/run.death").exists()
    assert number.name not in _run(tmp_path, 0).stderr
