"""The bench as Markdown: the limits with what they stand between, and every adapter with what failed of it."""

from collections.abc import Iterator, Mapping, Sequence

from sq_pipeline.calibration.limits import (
    LimitValues,
    Measured,
    counts,
    find_limits,
    is_judged_alone,
    is_right,
    judge,
    judge_all,
)
from sq_pipeline.verification.gate_limits import IS_UPPER, LIMIT_NAMES


def summarise(bench: Sequence[Measured], limits: LimitValues | None = None) -> str:
    """How many good ones pass and bad ones fail, by these limits or by such as each had no part in, and by the gate of
    before.
    """
    unseen, alone = judge_all(bench, limits), judge_all(bench, limits, has_reference=False)
    good, bad = [m for m in bench if m.is_good], [m for m in bench if not m.is_good]
    own = sum(is_right(m, unseen[m.name]) for m in bad)
    told, alone_good = ([m for m in group if is_judged_alone(m)] for group in (bad, good))
    return (
        f"{sum(not unseen[m.name] for m in good)} of {len(good)} good adapters pass, "
        f"{sum(bool(unseen[m.name]) for m in bad)} of {len(bad)} bad ones fail, {own} for a reason of their own; "
        f"without a reference {sum(not alone[m.name] for m in alone_good)} of {len(alone_good)} good ones pass, and "
        f"{sum(bool(alone[m.name]) for m in told)} of {len(told)} bad ones that can be told without it fail; "
        f"the gate of before passed {sum(m.old_gate is True for m in good)} good and "
        f"{sum(m.old_gate is True for m in bad)} bad ones"
    )


def write_table(bench: Sequence[Measured], base_model: str, tier: str) -> str:
    """The whole bench. Judged by the limits found, and by limits found without all that shares a style, twice: with its
    reference and without.
    """
    limits = find_limits(bench)
    unseen, alone = judge_all(bench), judge_all(bench, has_reference=False)
    lines = [f"## {base_model}, {tier}", "", f"{summarise(bench)}.", "", *_limit_lines(bench, limits), ""]
    names = [name for name in LIMIT_NAMES if name in limits]
    lines += [
        f"| adapter | {' | '.join(name.replace('_', ' ') for name in names)} "
        "| verdict | unseen | unseen, without a reference | gate of before |",
        f"|---|{'---|' * len(names)}---|---|---|---|",
    ]
    for m in bench:
        verdicts = [_verdict(m, judge(m, limits)), _verdict(m, unseen[m.name])]
        verdicts.append(_verdict(m, alone[m.name]) if is_judged_alone(m) else "")
        lines.append(_row(m, names, verdicts))
    return "\n".join(lines) + "\n"


def _limit_lines(bench: Sequence[Measured], limits: LimitValues) -> Iterator[str]:
    yield "| figure | limit | nothing gives | the worst good one | the median of good ones |"
    yield "|---|---|---|---|---|"
    for name, limit in limits.items():
        good = [m.figures[name] for m in bench if m.is_good and name in m.figures and counts(m, name)]
        worst = max(good) if name in IS_UPPER else min(good)
        sign = "≤" if name in IS_UPPER else "≥"
        numbers = (f"{sign} {limit.limit:g}", f"{limit.nothing:g}", f"{worst:.3g}", f"{limit.good:g}")
        yield f"| {name.replace('_', ' ')} | {' | '.join(numbers)} |"


def _row(measured: Measured, names: Sequence[str], verdicts: Sequence[str]) -> str:
    figures: Mapping[str, float] = {str(name): figure for name, figure in measured.figures.items()}
    cells = [f"{figures[name]:.2f}" if name in figures else "" for name in names]
    old = {True: "passed", False: "failed", None: "no pictures"}[measured.old_gate]
    return f"| {' | '.join((measured.name, *cells, *verdicts, old))} |"


def _verdict(measured: Measured, failing: Sequence[str]) -> str:
    told = f"fails: {failing[0].replace('_', ' ')}" if failing else "passes"
    return told if is_right(measured, failing) else f"**{told}**"
