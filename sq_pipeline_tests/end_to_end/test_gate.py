"""The gate over the real renderer: the demo's adapters pass, and what is broken fails for its own reason.

Each case is an adapter that an art director would take or reject; the check that must fail first is named beside it.
"""

from pathlib import Path

import pytest

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline.calibration.faults import EDITS, edit_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_file import verify_file
from sq_pipeline.verification.verify import VerificationReport
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.end_to_end.conftest import Demo

pytestmark = pytest.mark.long

TINY = FLUX1_MODELS["tiny-flux"]
FOLDERS = {
    "spaghetti_western": "spaghetti_western/landscape",
    "real_mccoy": "spaghetti_western/worlds/the_real_mccoy/landscape",
    "neon_tides": "neon_tides/landscape",
}
FILES = {
    "spaghetti_western": "spaghetti_western/landscape.safetensors",
    "real_mccoy": "spaghetti_western/the_real_mccoy/landscape.safetensors",
    "neon_tides": "neon_tides/landscape.safetensors",
}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Context:
    """A data directory of its own, whose store keeps the base model's pictures from case to case."""
    data = link_shipped(tmp_path_factory.mktemp("gate") / "data", shipped)
    return Context(data, real_engines(data))


def _verify(
    gate: Context, whole: Demo, file: Path, style: str, trigger: str | None = None, *, with_reference: bool = True
) -> VerificationReport:
    folder = whole.data.datasets_root / FOLDERS[style] if with_reference else None
    return verify_file(gate, file, file, TINY, "landscape", trigger or style, folder)


def _first_failure(report: VerificationReport) -> str:
    return next((verdict.check for verdict in report.verdicts if verdict.outcome == "failed"), "")


# what must fail first, and whether pictures are needed to say so; the sample of the bench has all faults
BROKEN = {"zero": "adapter file", "outputs exchanged": "loss saved", "a sixth of its strength": "style shown"}


@pytest.mark.parametrize("style", FILES)
def test_the_demo_s_adapters_pass(style: str, gate: Context, whole: Demo) -> None:
    report = _verify(gate, whole, whole.data.lora_root / FILES[style], style)
    assert report.has_passed, report.sentence
    told = {verdict.check: verdict.outcome for verdict in report.verdicts}
    assert {check for check, outcome in told.items() if outcome != "passed"} == {"checkpoint", "against noise"}
    assert report.pictures_rendered == 12
    assert report.sentence.startswith("PASS: pictures show ")


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_broken_costs_few_pictures(fault: str, gate: Context, whole: Demo, tmp_path: Path) -> None:
    good, file = whole.data.lora_root / FILES["neon_tides"], tmp_path / "broken.safetensors"
    edit_file(EDITS[fault], good, good, file)
    report = _verify(gate, whole, file, "neon_tides")
    assert _first_failure(report) == BROKEN[fault], report.sentence
    assert report.pictures_rendered <= 4
    # the pictures say it too, and not the loss alone
    if report.pictures_rendered:
        failed = {verdict.check for verdict in report.verdicts if verdict.outcome == "failed"}
        assert failed - {"loss saved"}, report.sentence


def test_another_style_under_this_name_fails(gate: Context, whole: Demo) -> None:
    report = _verify(gate, whole, whole.data.lora_root / FILES["neon_tides"], "real_mccoy")
    failed = {verdict.check for verdict in report.verdicts if verdict.outcome == "failed"}
    assert failed & {"style shown", "right style", "style not overshot"}, report.sentence


@pytest.mark.parametrize("has_captions", [True, False])
def test_a_trigger_that_it_never_saw_fails(has_captions: bool, gate: Context, whole: Demo, tmp_path: Path) -> None:
    folder = whole.data.datasets_root / FOLDERS["neon_tides"]
    if not has_captions:  # pictures alone: the loss says that it is no better than any word
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for path in sorted(folder.glob("*.png")):
            (pictures / path.name).write_bytes(path.read_bytes())
        folder = pictures
    file = whole.data.lora_root / FILES["neon_tides"]
    report = verify_file(gate, file, file, TINY, "landscape", "wexlibrum", folder)
    assert not report.has_passed
    (trigger,) = [verdict for verdict in report.verdicts if verdict.check == "trigger"]
    assert trigger.outcome == "failed", trigger.detail


def test_without_a_reference_the_report_says_what_was_not_checked(gate: Context, whole: Demo) -> None:
    file = whole.data.lora_root / FILES["neon_tides"]
    report = _verify(gate, whole, file, "neon_tides", with_reference=False)
    assert report.has_passed
    told = {verdict.check: (verdict.outcome, verdict.detail) for verdict in report.verdicts}
    assert told["style shown"] == (
        "skipped",
        "without a dataset or a folder of reference pictures, whether this is its style was not checked",
    )
    assert told["against noise"][0] == "passed"
    assert report.remarks == ("no source was named: its fidelity proves loading only",)


def test_two_runs_give_the_same_figures(gate: Context, whole: Demo) -> None:
    file = whole.data.lora_root / FILES["real_mccoy"]
    first, second = (_verify(gate, whole, file, "real_mccoy").as_json() for _ in range(2))
    assert first == second
