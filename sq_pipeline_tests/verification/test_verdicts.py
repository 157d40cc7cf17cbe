"""Verdicts from figures alone: what passes, fails, is skipped, and what a verification's version depends on."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from sq_pipeline.pictures.ports import AppliedAdapter
from sq_pipeline.verification.verdicts import (
    Outcome,
    Thresholds,
    Verdict,
    has_passed,
    judge_change,
    judge_matching,
    verdicts_version,
)

WHOLE = AppliedAdapter(Path("a"), 1.0, keys_matched=8, keys_total=8, layers_patched=4, layers_expected=4)


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({}, "passed"),
        ({"keys_matched": 7}, "failed"),
        ({"keys_matched": 0, "layers_patched": 0}, "failed"),
        ({"keys_matched": 0, "keys_total": 0, "layers_patched": 0, "layers_expected": 0}, "failed"),
        ({"layers_patched": 3}, "failed"),
        ({"layers_patched": 5}, "failed"),
    ],
)
def test_matching_is_all_or_nothing(changed: dict[str, int], outcome: Outcome) -> None:
    verdict = judge_matching(replace(WHOLE, **changed))
    assert verdict.outcome == outcome
    numbers = {"keys_matched": 8, "keys_total": 8, "layers_patched": 4, "layers_expected": 4} | changed
    assert verdict.detail == "{keys_matched} of {keys_total} keys, {layers_patched} of {layers_expected} layers".format(
        **numbers
    )
    assert verdict.figure == pytest.approx(numbers["keys_matched"] / max(numbers["keys_total"], 1))


def test_what_was_not_applied_at_all_fails_with_the_reason() -> None:
    verdict = judge_matching(None, "only 3 of 8 keys matched")
    assert (verdict.outcome, verdict.figure, verdict.detail) == ("failed", None, "only 3 of 8 keys matched")


@pytest.mark.parametrize(
    ("ssims", "limit", "outcome", "figure"),
    [
        ([0.5, 0.6], 0.999, "passed", 0.6),
        ([0.5, 0.9995], 0.999, "failed", 0.9995),  # one unchanged picture is enough
        ([0.5, 0.9995], 0.9999, "passed", 0.9995),
        ([0.5, 0.6], 0.6, "failed", 0.6),  # below, not at
        ([1.0], 1.0, "failed", 1.0),
        ([-0.2], 0.999, "passed", -0.2),
        ([], 0.999, "failed", 1.0),
        ([float("nan")], 0.999, "failed", None),
    ],
)
def test_change_is_judged_by_the_largest(
    ssims: list[float], limit: float, outcome: Outcome, figure: float | None
) -> None:
    verdict = judge_change(ssims, Thresholds(ssim_changed_max=limit))
    assert verdict.outcome == outcome
    assert verdict.threshold == f"largest SSIM < {limit}"
    if figure is not None:
        assert verdict.figure == figure


def _verdicts(*outcomes: Outcome) -> tuple[Verdict, ...]:
    return tuple(Verdict(f"check {n}", outcome, 0.5, "", "") for n, outcome in enumerate(outcomes))


@pytest.mark.parametrize(
    ("outcomes", "is_passed"),
    [
        (("passed", "passed"), True),
        (("passed", "skipped"), True),
        (("passed", "warned"), True),
        (("warned",), False),
        (("passed", "failed"), False),
        (("failed",), False),
        (("skipped",), False),
        ((), False),
    ],
)
def test_what_passes_as_a_whole(outcomes: tuple[Outcome, ...], is_passed: bool) -> None:
    assert has_passed(_verdicts(*outcomes)) is is_passed


def test_the_version_is_of_outcomes_and_adapter() -> None:
    first = _verdicts("passed", "skipped")
    other_figures = tuple(replace(verdict, figure=0.1, threshold="x", detail="y") for verdict in first)
    version = verdicts_version(first, "sha256:aa")
    assert verdicts_version(other_figures, "sha256:aa") == version
    assert verdicts_version(tuple(reversed(first)), "sha256:aa") == version
    assert verdicts_version(first, "sha256:bb") != version
    assert verdicts_version(_verdicts("failed", "skipped"), "sha256:aa") != version
    assert verdicts_version(_verdicts("warned", "skipped"), "sha256:aa") == version  # nothing waits for a warning


@pytest.mark.parametrize("field", ["ssim_changed_max", "ssim_trigger_max"])
@pytest.mark.parametrize("value", [0, -0.1, 1.01, "0.9", True, None, float("nan")])
def test_thresholds_are_shares(field: str, value: object) -> None:
    if value is None and Thresholds.model_fields[field].default is None:
        return  # off
    with pytest.raises(ValidationError):
        Thresholds.model_validate({field: value})


def test_thresholds_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError):
        Thresholds.model_validate({"ssim_change_max": 0.9})
