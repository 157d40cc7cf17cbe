"""Fidelity from figures alone: what counts as missed, extra, exact and kept, and the verdict by each threshold."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sq_pipeline.base_models.base_models import Dtype
from sq_pipeline.common.fingerprints import canonical_json
from sq_pipeline.verification.fidelity import FidelityReport, LayerFidelity, compare, missed
from sq_pipeline.verification.report import figure, layer_lines, threshold_lines
from sq_pipeline.verification.thresholds import FidelityThresholds, Thresholds
from sq_pipeline.verification.verdicts import judge_fidelity
from sq_pipeline_tests.fakes import fidelity_report

DEFAULTS = FidelityThresholds()


def compare_arrays(wanted: np.ndarray, applied: np.ndarray) -> LayerFidelity:
    squares = tuple(float(np.vdot(x, x)) for x in (wanted, applied, applied - wanted))
    assert len(squares) == 3
    return compare("layer", "slot", squares, float(np.vdot(applied, wanted)))


def with_limits(**values: float) -> FidelityThresholds:
    return FidelityThresholds.model_validate(
        {name: {"value": value, "reason": "a test"} for name, value in values.items()}
    )


# --- figures


@given(st.integers(0, 2**32 - 1), st.floats(-4, 16))
def test_a_multiple_of_an_update_keeps_that_share_and_is_off_by_the_rest(seed: int, factor: float):
    wanted = np.random.default_rng(seed).normal(size=(3, 4))
    found = compare_arrays(wanted, factor * wanted)
    assert found.share_kept == pytest.approx(factor, abs=1e-9)
    assert found.relative_error == pytest.approx(abs(factor - 1), abs=1e-6)
    assert found.norm_applied == pytest.approx(abs(factor) * found.norm_wanted)


def test_what_lies_across_an_update_keeps_nothing_of_it():
    found = compare_arrays(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert (found.share_kept, found.relative_error) == (0.0, pytest.approx(math.sqrt(2)))
    assert not found.is_missed


@pytest.mark.parametrize(
    ("wanted", "applied", "error", "kept", "is_missed", "is_extra"),
    [
        (0.0, 0.0, 0.0, 1.0, False, False),
        (0.0, 2.0, math.inf, 1.0, False, True),
        (2.0, 0.0, 1.0, 0.0, True, False),
        (2.0, 2.0, 0.0, 1.0, False, False),
    ],
)
def test_zero_updates(wanted: float, applied: float, error: float, kept: float, is_missed: bool, is_extra: bool):
    found = compare_arrays(np.full(1, wanted), np.full(1, applied))
    assert (found.relative_error, found.share_kept) == (error, kept)
    assert (found.is_missed, found.is_extra) == (is_missed, is_extra)


def test_sums_may_be_in_units_of_their_own():
    assert compare("layer", "slot", (4.0, 9.0, 1.0), 6.0, unit=2.0**-60) == LayerFidelity(
        "layer", "slot", 2 * 2.0**-60, 3 * 2.0**-60, 0.5, 1.5
    )


def test_shares_of_all_layers_together_are_weighted_by_their_squares():
    strong = LayerFidelity("a", "a", 2.0, 2.0, 0.0, 1.0, 0.9)
    weak = LayerFidelity("b", "b", 1.0, 0.0, 0.5, 0.5, 0.4)
    report = replace(fidelity_report(), layers=(strong, weak, missed("c", "c", 0.0)))
    assert report.share_kept == pytest.approx((4 * 1.0 + 1 * 0.5) / 5)
    assert report.loader_share_kept == pytest.approx((4 * 0.9 + 1 * 0.4) / 5)
    assert fidelity_report("a").loader_share_kept is None


# --- verdicts


@pytest.mark.parametrize(
    ("dtype", "error", "outcome"),
    [
        ("float32", 1e-3, "passed"),
        ("float32", 1.001e-3, "failed"),
        ("bfloat16", 1e-2, "passed"),
        ("bfloat16", 1.001e-2, "failed"),
        ("float32", math.nan, "failed"),
        ("float32", math.inf, "failed"),
    ],
)
def test_the_precision_decides_how_exact_a_layer_must_be(dtype: Dtype, error: float, outcome: str):
    layers = (*fidelity_report("a", "b").layers, LayerFidelity("c", "c", 1.0, 1.0, error, 1.0))
    verdict = judge_fidelity(replace(fidelity_report(), dtype=dtype, layers=layers), DEFAULTS)
    assert verdict.outcome == outcome
    assert dtype in verdict.threshold
    assert verdict.figure == (error if math.isfinite(error) else None)


@pytest.mark.parametrize(
    ("report", "limits", "detail"),
    [
        (fidelity_report("a", "b", misses=1), {}, "1 of 2 layers were missed (a)"),
        (fidelity_report(*"abcde", misses=5), {}, "5 of 5 layers were missed (a, b, c and 2 more)"),
        (fidelity_report("a", "b", misses=1), {"layers_share_min": 0.6}, "1 of 2 layers were missed (a)"),
        (fidelity_report("a", "b", misses=1), {"layers_share_min": 0.5}, ""),
        (fidelity_report("a", relative_error=0.05), {}, "relative error 0.05 in a; share kept 0.9500 in a"),
        (fidelity_report("a", relative_error=0.05), {"relative_error_float32_max": 0.05}, "share kept 0.9500 in a"),
        (fidelity_report("a", relative_error=0.05), {"relative_error_float32_max": 0.05, "share_kept_min": 0.95}, ""),
        (fidelity_report("a", relative_error=0.05), {"relative_error_bfloat16_max": 0.05}, "relative error 0.05 in a"),
        (fidelity_report("a", problem="it is refused"), {}, "it is refused"),
        (fidelity_report(), {}, "the source adds to no layer"),
        (replace(fidelity_report("a"), unmatched_keys=("x", "y")), {}, "the loader has no use for x and 1 more"),
        (replace(fidelity_report("a"), unmatched_keys=("x",)), {"layers_share_min": 0.9}, ""),
        (
            replace(fidelity_report("a"), layers=(*fidelity_report("a").layers, compare("b", "", (0, 4, 4), 0))),
            {"relative_error_float32_max": 99},
            "1 layers changed to which the source adds nothing (b)",
        ),
    ],
)
def test_each_threshold_and_nothing_else_decides(report: FidelityReport, limits: dict[str, float], detail: str):
    verdict = judge_fidelity(report, with_limits(**limits))
    assert verdict.outcome == ("failed" if detail else "passed")
    assert verdict.detail.startswith(detail)


def test_a_verdict_without_a_report_says_why():
    verdict = judge_fidelity(None, DEFAULTS, "cannot be read")
    assert (verdict.outcome, verdict.figure, verdict.detail) == ("failed", None, "cannot be read")


# --- thresholds


@pytest.mark.parametrize("name", FidelityThresholds.model_fields)
@pytest.mark.parametrize(
    "value", [0.5, {"value": 0.5}, {"value": 0.5, "reason": ""}, {"value": 0.5, "reason": "\t"}, {"reason": "r"}, None]
)
def test_a_threshold_is_not_moved_without_a_reason(name: str, value: object):
    with pytest.raises(ValidationError):
        Thresholds.model_validate({"fidelity": {name: value}})


@pytest.mark.parametrize("name", FidelityThresholds.model_fields)
@pytest.mark.parametrize("value", [0, -0.1, "0.9", True, math.nan, math.inf])
def test_a_threshold_is_a_number_that_can_be_met(name: str, value: object):
    with pytest.raises(ValidationError):
        Thresholds.model_validate({"fidelity": {name: {"value": value, "reason": "r"}}})


def test_a_moved_threshold_is_told_from_a_default():
    limits = FidelityThresholds.model_validate({"share_kept_min": {"value": 0.9, "reason": "8-bit base"}})
    assert [name for name, _, is_default in limits.limits() if not is_default] == ["share_kept_min"]
    assert "| fidelity.share_kept_min | 0.9 | sq.yaml | 8-bit base |" in threshold_lines(limits)


# --- reports


def test_a_report_is_json_whatever_was_measured():
    odd = (compare("a", "", (0.0, 1.0, 1.0), 0.0), compare("b", "b", (math.nan, math.nan, math.nan), math.nan))
    report = replace(fidelity_report("c", misses=1), layers=(*fidelity_report("c", misses=1).layers, *odd))
    values = json.loads(canonical_json(report.as_json()))
    assert values["relative_error"] is None
    assert {layer["layer"]: layer["relative_error"] for layer in values["layers"]} == {"a": None, "b": None, "c": 1.0}
    assert (values["layers_missed"], values["layers_extra"]) == (["c"], ["a"])
    assert any("inf" in line for line in layer_lines(report))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0.0000"),
        (1.0, "1.0000"),
        (0.98765, "0.9877"),
        (-0.5, "-0.5000"),
        (1.2e-7, "1.2e-07"),
        (3e9, "3.0e+09"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_figures_are_shown_so_that_they_say_something(value: float | None, text: str):
    assert figure(value) == text
