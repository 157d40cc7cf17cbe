"""A sample of the gate's bench over the real renderer: good ones pass and each fault fails for its own reason."""

from pathlib import Path

import pytest

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.calibration.calibrate import CalibrationRequest, calibrate, limits_in_use
from sq_pipeline.calibration.candidates import sample
from sq_pipeline.calibration.limits import Measured, is_right, judge
from sq_pipeline.common.layout import DataDir
from sq_pipeline.pipeline.context import Context
from sq_pipeline.verification.gate_limits import Calibrated, LimitName
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.conftest import link_shipped

pytestmark = [pytest.mark.long, pytest.mark.takes(s=200)]

Bench = tuple[CalibrationRequest, Context, dict[str, Measured]]
NAMES = [candidate.name for candidate in sample()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Bench:
    data = link_shipped(tmp_path_factory.mktemp("bench") / "data", shipped)
    context = Context(data, real_engines(data))
    request = CalibrationRequest(BASE_MODELS["tiny-flux"], "landscape", data.bench_root / "sample", is_sample=True)
    return request, context, {measured.name: measured for measured in calibrate(context, request, lambda _line: None)}


@pytest.fixture(scope="module")
def limits(bench: Bench) -> dict[LimitName, Calibrated]:
    return dict(limits_in_use(bench[1], bench[0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_limits_judge_it_rightly(name: str, bench: Bench, limits: dict[LimitName, Calibrated]) -> None:
    measured = bench[2][name]
    failing = judge(measured, limits)
    assert is_right(measured, failing), (failing, measured.figures)
    if measured.is_good:
        assert judge(measured, limits, has_reference=False) == (), measured.figures


def test_the_gate_of_before_passed_most_of_what_is_bad(bench: Bench) -> None:
    shown = [measured for measured in bench[2].values() if not measured.is_good and measured.old_gate is not None]
    assert sum(measured.old_gate is True for measured in shown) > len(shown) / 2


def test_what_is_there_is_not_made_again(bench: Bench) -> None:
    request, context, measured = bench
    files = sorted(path for path in request.folder.rglob("*") if path.is_file() and path.parent.name != "adapters")
    before = [path.stat().st_mtime_ns for path in files]
    again = calibrate(context, request, lambda _line: None)
    assert {each.name: each for each in again} == measured
    assert [path.stat().st_mtime_ns for path in files] == before


def test_there_is_a_sheet_of_each_that_has_pictures(bench: Bench) -> None:
    request, _, measured = bench
    shown = [name for name, each in measured.items() if "adapter file" not in each.failed]
    sheets: list[Path] = sorted((request.folder / "sheets").glob("*.png"))
    assert len(sheets) == len(shown)
