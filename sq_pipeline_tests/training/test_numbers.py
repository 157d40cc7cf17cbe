"""The need of a training as the commands tell it on this machine, over the cases of recipes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.training.memory import TINY_ENCODERS
from sq_pipeline_tests.cases.recipes import build_data
from sq_pipeline_tests.training.test_fit import run_cli

GIB = 2**30


def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run_cli(monkeypatch, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has a GPU")
def test_a_cpu_s_need_is_in_float32_and_says_so(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if factory.computing_dtype() != "float32":
        pytest.skip("there is a GPU")
    report = ask(monkeypatch, capsys, "doctor", "--train", "--data", str(data.root))["training"]
    row = next(row for row in report["trainings"] if row["name"] == "flux1-dev")
    assert report["dtype"] == row["dtype"] == "float32"
    assert row["rank"] == 8
    assert row["encoders_bytes"] >= 17 * GIB
    assert row["weights_bytes"] >= 7.0 * GIB  # whatever of 4 bits, 8 and none fits here
    assert run_cli(monkeypatch, "doctor", "--train", "--data", str(data.root)) == 0
    assert "float32" in capsys.readouterr().out


def test_samples_are_in_the_need(
    tmp_path: Path, shipped: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs: dict[int, dict[str, Any]] = {}
    for interval in (1000, 4):
        folder = build_data(tmp_path / str(interval), shipped.root, {"sample_interval": interval})
        root = str(tmp_path / str(interval))
        report = ask(monkeypatch, capsys, "dataset", "check", str(folder), "--data", root)
        assert report["needs"].endswith("computed in float32")
        needs[interval] = report["memory"]
    more = needs[4]["total_bytes"] - needs[1000]["total_bytes"]
    assert more >= 4 * TINY_ENCODERS.vae_decoder == needs[4]["samples_bytes"]
    assert needs[1000]["samples_bytes"] == 0
