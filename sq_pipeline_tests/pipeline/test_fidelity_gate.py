"""The first check of the gate, in the whole line: mflux's real loader on what is really remapped, and what comes of it.

Pictures are the fake renderer's, which takes every file for good: only the fidelity can stop an adapter here.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.remap.remap import RemapResult
from sq_pipeline.engines import factory
from sq_pipeline.pipeline.adapters import mflux_adapter
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.ports import FidelityMeter, FidelityRequest
from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game

pytestmark = pytest.mark.takes(s=30)

Arrays = dict[str, np.ndarray]
ADAPTER = "west/loras/west_land"


class RealMeter:
    """The real meter, and what it was asked for."""

    def __init__(self, meter: FidelityMeter) -> None:
        self._meter = meter
        self.requests: list[FidelityRequest] = []

    def measure(self, request: FidelityRequest) -> FidelityReport:
        self.requests.append(request)
        return self._meter.measure(request)


@pytest.fixture
def measured(game: Game) -> Game:
    game.engines.meter = RealMeter(factory.fidelity_meter(game.data))
    return game


def _drop_a_block(arrays: Arrays) -> None:
    for name in [name for name in arrays if "single_blocks_2_" in name]:
        del arrays[name]


def _eight_times(arrays: Arrays) -> None:
    for name in [name for name in arrays if name.endswith("lora_up.weight")]:
        arrays[name] = arrays[name] * 8


def _one_row(arrays: Arrays) -> None:
    arrays["lora_unet_single_blocks_0_linear1.lora_up.weight"][5] *= -1


def spoil_remaps(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Arrays], None]) -> None:
    right = mflux_adapter.remap_adapter

    def remap(source: Path, target: Path, *more: Any, **options: Any) -> RemapResult:
        result = right(source, target, *more, **options)
        arrays = {name: array.copy() for name, array in load_file(target).items()}
        spoil(arrays)
        save_file(arrays, target)
        return result

    monkeypatch.setattr(mflux_adapter, "remap_adapter", remap)


def verification_of(game: Game) -> dict[str, Any]:
    context = Context(game.data, game.engines(game.data))
    record = adapter_steps_of(context, context.adapter("west/west_land"))["verification"].record
    assert record is not None
    return record.info


def sources_of(game: Game) -> list[set[str]]:
    """For each measurement, the keys of what the adapter was held against."""
    assert isinstance(game.engines.meter, RealMeter)
    return [{patch.down.key for patch in request.source.patches.values()} for request in game.engines.meter.requests]


def test_a_sound_adapter_passes_held_against_the_trained_file(measured: Game) -> None:
    report = measured.run()
    assert not report.failed
    assert not report.blocked
    entry = read_manifest(measured.data, "west")["west_land"]
    assert entry["verified"]["adapter fidelity"].startswith("passed: 52 of 52 layers, largest relative error ")
    fidelity = verification_of(measured)["fidelity"]
    assert (fidelity["mode"], fidelity["loader"].split()[0]) == ("unbaked, float32", "mflux")
    assert len(fidelity["layers"]) == 10  # the worst; the report in the store has all
    assert [len(keys) for keys in sources_of(measured)] == [32, 32]
    assert all(key.endswith(".lora_a") for keys in sources_of(measured) for key in keys)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_drop_a_block, "6 of 52 layers were missed"),
        (_eight_times, "relative error 7 in "),
        (_one_row, "relative error "),
    ],
    ids=["a block dropped", "eight times too strong", "one row turned round"],
)
def test_a_broken_adapter_fails_is_not_rendered_and_never_promoted(
    spoil: Callable[[Arrays], None], told: str, measured: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_remaps(monkeypatch, spoil)
    measured.run()
    found = verification_of(measured)
    assert found["has_passed"] is False
    (verdict,) = found["verdicts"]
    assert (verdict["check"], verdict["outcome"]) == ("adapter fidelity", "failed")
    assert verdict["detail"].startswith(told)
    assert measured.engines.renderer.requests == []
    assert read_manifest(measured.data, "west") == {}
    assert list(measured.data.lora_root.rglob("*.safetensors")) == []
    blocked = {item["asset"]: item["reasons"] for item in measured.plan()["blocked"]}
    assert any(reason.startswith("adapter fidelity: ") for reason in blocked[f"{ADAPTER}/promoted_adapter"])


def test_a_person_may_take_less_with_a_reason_and_the_report_keeps_it(
    measured: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_remaps(monkeypatch, _one_row)
    limit = {"value": 2.5, "reason": "a row of one layer is known to be off"}
    kept = {"value": 0.1, "reason": "the same row"}
    write_yaml(
        measured.data.settings_file,
        {
            "promotion": "automatic",
            "thresholds": {
                "ssim_trigger_max": 1.0,
                "fidelity": {"relative_error_float32_max": limit, "share_kept_min": kept},
            },
        },
    )
    assert not measured.run().failed
    assert set(read_manifest(measured.data, "west")) == {"west_land", "paper_land"}
    texts = [path.read_text() for path in (measured.data.store_root / "objects").rglob("*.md")]
    reports = [text for text in texts if ": PASS" in text.partition("\n")[0]]
    assert len(reports) == 2
    for text in reports:
        assert "| fidelity.relative_error_float32_max | 2.5 | sq.yaml | a row of one layer is known to be off |" in text


def test_an_external_file_is_held_against_itself(measured: Game) -> None:
    measured.run()
    shutil.rmtree(measured.data.datasets_root / "west/landscape")
    measured.run()
    found = verification_of(measured)
    assert found["has_passed"] is True
    assert all(key.startswith("lora_unet_") for key in sources_of(measured)[-1])
