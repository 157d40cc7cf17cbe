"""Limits from figures: where they stand, and that no adapter is judged by limits that it helped to set."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sq_pipeline.calibration.limits import Measured, find_limits, is_right, judge, judge_all
from sq_pipeline.calibration.table import summarise, write_table
from sq_pipeline.verification.gate_limits import Calibrated, LimitName

CALIBRATED = Calibrated(limit=0.5, nothing=0.0, good=1.0)


def good(style: str, share: float = 0.5, distance: float = 0.6, **more: float) -> Measured:
    figures: dict[LimitName, float] = {"style_share": share, "style_distance": distance}
    figures.update({"trigger_effect": more["effect"]} if "effect" in more else {})
    return Measured(style, frozenset({style}), (), figures)


def bad(style: str, name: LimitName, figure: float, fault: str = "a fault") -> Measured:
    return Measured(f"{style}: {fault}", frozenset({style}), (name,), {name: figure})


def test_a_limit_stands_in_the_middle_between_the_worst_good_one_and_the_nearest_bad_one() -> None:
    bench = [good("a", 0.5), good("b", 0.3), bad("a", "style_share", 0.05), bad("b", "style_share", 0.1)]
    found = find_limits(bench)["style_share"]
    assert (found.limit, found.nothing, found.good) == (0.2, 0.0, 0.4)


def test_without_a_bad_one_it_stands_half_way_to_nothing() -> None:
    found = find_limits([good("a", 0.5, 0.6), good("b", 0.3, 0.8)])
    assert (found["style_share"].limit, found["style_distance"].limit) == (0.15, 0.9)


def test_a_bad_one_that_does_worse_than_nothing_moves_no_limit() -> None:
    bench = [good("a", 0.4), bad("a", "style_share", -3.0)]
    assert find_limits(bench)["style_share"].limit == 0.2


def test_where_they_overlap_it_makes_the_fewest_mistakes() -> None:
    one = [good("a", distance=0.8), bad("b", "style_distance", 0.7)]
    assert find_limits(one)["style_distance"].limit == pytest.approx(0.9)  # a good one weighs more than a bad one
    odd = [good("a", 0.1), *(good(style, 1.0) for style in "bcd"), *(bad(s, "style_share", 0.2) for s in "abcd")]
    assert find_limits(odd)["style_share"].limit == 0.6  # and four bad ones more than a good one


def test_a_bad_one_counts_only_for_the_limit_that_is_there_for_it() -> None:
    other = replace(bad("a", "style_distance", 2.0), figures={"style_distance": 2.0, "style_share": 0.39})
    assert find_limits([good("a", 0.4), other])["style_share"].limit == 0.2


def test_the_trigger_s_effect_is_asked_of_those_that_were_trained_for_it() -> None:
    always_on, on_call = good("a", effect=0.1), replace(good("b", effect=0.9), needs_trigger=True)
    bench = [always_on, on_call]
    limits = find_limits(bench)
    assert limits["trigger_effect"].limit == 0.5
    assert judge(always_on, limits) == ()
    assert judge(replace(on_call, figures={"trigger_effect": 0.2}), limits) == ("trigger_effect",)


def test_a_check_without_a_limit_fails_whatever_the_figures_are() -> None:
    lost = Measured("a: half of it lost", frozenset({"a"}), ("adapter file",), {}, ("adapter file",))
    assert judge(lost, find_limits([good("a")])) == ("adapter file",)
    assert is_right(lost, ("adapter file",))
    assert not is_right(lost, ("style_share",))
    assert not is_right(lost, ())


figures = st.floats(-2, 4, allow_nan=False)
benches = st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.05, 3), figures), min_size=2, max_size=8)


def mistakes(bench: list[Measured], limit: float) -> int:
    wrong = {True: 3, False: 1}  # a good one that fails, a bad one that passes
    return sum(wrong[m.is_good] for m in bench if m.is_good == (m.figures["style_share"] < limit))


@given(benches, st.floats(0.01, 4))
def test_no_other_limit_makes_fewer_mistakes(drawn: list[tuple[str, float, float]], other: float) -> None:
    # three decimals, as limits are written: no figure is nearer to a limit than that
    bench = [good(style, round(share, 2)) for style, share, _ in drawn]
    bench += [bad(style, "style_share", round(figure, 2)) for style, _, figure in drawn]
    limit = find_limits(bench)["style_share"].limit
    assert limit > 0  # what nothing gives never passes
    assert mistakes(bench, limit) <= mistakes(bench, other)


@given(benches, figures, figures)
def test_what_an_adapter_is_measured_at_moves_no_limit_that_it_is_judged_by(
    drawn: list[tuple[str, float, float]], first: float, second: float
) -> None:
    others = [good(style, share) for style, share, _ in drawn] + [bad(s, "style_share", f) for s, _, f in drawn]
    seen: list[set[str]] = []
    for share in (first, second):
        bench = [*others, replace(good("mine", share), styles=frozenset({"mine"})), bad("mine", "style_share", share)]
        verdicts = judge_all(bench)
        seen.append({name for name, failing in verdicts.items() if failing and not name.startswith("mine")})
        alone = judge_all([*others, good("mine", 0.5)])
        limit = find_limits(others)["style_share"].limit
        assert (verdicts["mine"] == ()) == (share >= limit)
        assert alone["mine"] == judge(good("mine", 0.5), find_limits(others))


def test_a_style_is_left_out_with_everything_that_is_made_of_it() -> None:
    mixed = replace(bad("a", "style_share", 0.45), styles=frozenset({"a", "b"}))
    bench = [good("a", 0.5), good("b", 0.5), mixed]
    # judged by nothing but its own kind, there is no limit that it could fail
    assert judge_all(bench)["a: a fault"] == ()
    assert judge_all([*bench, good("c", 0.6)])["a: a fault"] == ()
    assert judge_all([*bench, good("c", 1.0)])["a: a fault"] == ("style_share",)


def test_the_table_names_what_failed_and_marks_what_is_wrong() -> None:
    passes = replace(bad("b", "style_share", 0.9, "looks good"), old_gate=True)
    bench = [good("a", 0.5), good("b", 0.6), good("c", 0.55), bad("a", "style_share", 0.1), passes]
    lines = write_table(bench, "tiny-flux", "landscape").splitlines()
    assert "3 of 3 good adapters pass, 1 of 2 bad ones fail, 1 for a reason of their own" in lines[2]
    assert "without a reference 3 of 3 good ones pass, and 0 of 0 bad ones that can be told without it fail" in lines[2]
    assert lines[2] == f"{summarise(bench)}."
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines if line.startswith("| ")}
    assert rows["a"].endswith("| passes | passes | passes | no pictures |")
    assert rows["a: a fault"].endswith("| fails: style share | fails: style share |  | no pictures |")
    assert rows["b: looks good"].endswith("| **passes** | **passes** |  | passed |")


def test_noise_is_asked_of_what_has_no_reference_and_nothing_else_is() -> None:
    limits: dict[LimitName, Calibrated] = {
        "over_noise": CALIBRATED,
        "style_share": CALIBRATED,
        "subject_kept": CALIBRATED,
    }
    noisy = Measured("a", frozenset({"a"}), (), {"over_noise": 0.2, "style_share": 0.9, "subject_kept": 0.9})
    assert judge(noisy, limits) == ()
    assert judge(noisy, limits, has_reference=False) == ("over_noise",)
    other = Measured("a", frozenset({"a"}), (), {"over_noise": 0.9, "style_share": 0.2, "subject_kept": 0.9})
    assert judge(other, limits) == ("style_share",)
    assert judge(other, limits, has_reference=False) == ()


def test_the_limit_of_noise_keeps_away_from_good_ones_and_leaves_out_what_needs_a_reference() -> None:
    figures: list[Measured] = [
        Measured(style, frozenset({style}), (), {"over_noise": ratio}, needs_reference=ratio < 2)
        for style, ratio in (("a", 3.0), ("b", 2.6), ("threads", 1.1))
    ]
    bench = [*figures, bad("a", "over_noise", 1.2)]
    limits = find_limits(bench)
    assert limits["over_noise"].limit == pytest.approx(1.55)
    assert [bool(judge(each, limits, has_reference=False)) for each in bench] == [False, False, False, True]
