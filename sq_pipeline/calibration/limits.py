"""Limits from what was measured of good and bad adapters, and how they judge adapters that they were not set on.

Pure: figures in, limits out. A limit stands between the worst good adapter and the nearest bad one that it is there to
tell, mostly in the middle. Where they overlap, it makes the fewest mistakes. Not here: measuring (`bench`), the table
(`table`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sq_pipeline.calibration.faults import Reason
from sq_pipeline.verification.gate_limits import IS_UPPER, LIMIT_NAMES, Calibrated, LimitName, meets

# What an adapter without any effect gives.
NOTHING: Mapping[LimitName, float] = {
    "loss_saved": 0.0,
    "style_share": 0.0,
    "style_direction": 0.0,
    "style_distance": 1.0,
    "foreign_texture": 0.0,
    "subject_kept": 0.0,
    "over_noise": 1.0,
    "trigger_effect": 0.0,
}
# A good adapter that fails costs a training; a bad one may still fail another check.
_GOOD_WEIGHS = 3
# How far from the worst good one towards the nearest bad one: against noise, two trainings of one style are a third
# apart.
_PARTS: Mapping[LimitName, float] = {"over_noise": 0.75}
_DIGITS = 3

_WITHOUT_REFERENCE: frozenset[LimitName] = frozenset({"over_noise", "subject_kept"})

LimitValues = Mapping[LimitName, Calibrated]


@dataclass(frozen=True)
class Measured:
    """One adapter of the bench: its figures, and which checks without a limit failed. `reasons`: see `Candidate`.

    `needs_trigger`: it was trained to show with its trigger only, so that this is asked of it; `needs_reference`: noise
    is not asked of it. `old_gate`: whether the gate of before, two similarities of pictures, let it pass; None where no
    picture was rendered.
    """

    name: str
    styles: frozenset[str]
    reasons: tuple[Reason, ...]
    figures: Mapping[LimitName, float]
    failed: tuple[str, ...] = ()
    needs_trigger: bool = False
    old_gate: bool | None = None
    needs_reference: bool = False

    @property
    def is_good(self) -> bool:
        """True for one that an art director takes."""
        return not self.reasons


def find_limits(bench: Sequence[Measured]) -> dict[LimitName, Calibrated]:
    """A limit for every figure that some good adapter has, see the module."""
    found: dict[LimitName, Calibrated] = {}
    for name in LIMIT_NAMES:
        good = [m.figures[name] for m in bench if m.is_good and name in m.figures and counts(m, name)]
        if good:
            bad = [m.figures[name] for m in bench if name in m.figures and _is_told_by(m, name)]
            found[name] = _between(name, good, bad)
    return found


def counts(measured: Measured, name: LimitName) -> bool:
    """True where this figure is asked of the adapter at all."""
    if name == "over_noise":
        return not measured.needs_reference
    return name != "trigger_effect" or measured.needs_trigger


def _is_told_by(measured: Measured, name: LimitName) -> bool:
    """True for a bad adapter that this limit is there for; of the trigger's effect, for a style that is always on."""
    if name == "trigger_effect":
        return measured.is_good and not measured.needs_trigger
    return measured.reasons[:1] == (name,)


def _between(name: LimitName, good: Sequence[float], bad: Sequence[float]) -> Calibrated:
    nothing, sign = NOTHING[name], -1 if name in IS_UPPER else 1
    goods, bads = [sign * f for f in good], [sign * f for f in bad]
    # what changes nothing has no foreign texture either: of this alone nothing is not the worst there is
    floor = min([2 * min(goods), *bads]) if name == "foreign_texture" else sign * nothing

    def mistakes(least: float) -> int:
        return _GOOD_WEIGHS * sum(figure < least for figure in goods) + sum(figure >= least for figure in bads)

    # the worst good one that passes; nothing itself never does
    worst = min(sorted(figure for figure in goods if figure > floor) or [floor], key=mistakes)
    nearest = max(figure for figure in (floor, *bads) if figure < worst or figure == floor)
    limit = sign * (worst - (worst - nearest) * _PARTS.get(name, 0.5))
    return Calibrated(limit=round(limit, _DIGITS), nothing=nothing, good=round(median(good), _DIGITS))


def judge(measured: Measured, limits: LimitValues, *, has_reference: bool = True) -> tuple[str, ...]:
    """What fails of it: checks without a limit, and limits that are not met; empty for one that passes.

    Noise is asked of files without a reference only, and these are asked nothing that a reference is needed for.
    """
    asked = set(measured.figures) - {"over_noise"} if has_reference else _WITHOUT_REFERENCE
    short = [
        name
        for name, figure in measured.figures.items()
        if name in limits and name in asked and counts(measured, name) and not meets(name, figure, limits[name].limit)
    ]
    return (*measured.failed, *short)


def judge_all(
    bench: Sequence[Measured], limits: LimitValues | None = None, *, has_reference: bool = True
) -> dict[str, tuple[str, ...]]:
    """What fails of each, by name.

    Without `limits` each is judged by such as it had no part in: nor had any other adapter of a style that it is made
    of.
    """

    def failing(measured: Measured) -> tuple[str, ...]:
        by = limits or find_limits([other for other in bench if not other.styles & measured.styles])
        return judge(measured, by, has_reference=has_reference)

    return {measured.name: failing(measured) for measured in bench}


def is_judged_alone(measured: Measured) -> bool:
    """True for one that a file without a reference is judged rightly by: a good one of most styles, or a bad one that
    fails for what it shows by itself.
    """
    if measured.is_good:
        return not measured.needs_reference
    return bool({*_WITHOUT_REFERENCE, "adapter file"} & set(measured.reasons))


def is_right(measured: Measured, failing: Iterable[str]) -> bool:
    """True for a good adapter that passes, and for a bad one that fails for a reason of its own."""
    found = set(failing)
    return not found if measured.is_good else bool(found & set(measured.reasons))
