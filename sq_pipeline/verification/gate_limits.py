"""The limits of the gate's picture checks: calibrated ones of `gate/<base model>.yaml`, and a person's own.

A calibrated limit stands between what nothing gives and what good adapters gave, see `docs/gate.md`. Where a base model
has none for a tier, shipped ratios stand in for them, and what they find is a warning. Not here: judging (`checks`),
reading the file (`gate_files`).
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from sq_pipeline.common.fingerprints import counted_fields
from sq_pipeline.common.gate_overrides import GateLimit, GateOverrides

LimitName = Literal[
    "loss_saved",
    "style_share",
    "style_direction",
    "style_distance",
    "foreign_texture",
    "subject_kept",
    "over_noise",
    "trigger_effect",
]
LIMIT_NAMES: tuple[LimitName, ...] = get_args(LimitName)
# Must not be passed; all others must be reached.
IS_UPPER: frozenset[LimitName] = frozenset({"style_distance", "foreign_texture"})


def meets(name: LimitName, figure: float, limit: float) -> bool:
    """True where a figure is on the right side of a limit; NaN never is."""
    return figure <= limit if name in IS_UPPER else figure >= limit


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Calibrated(_Strict):
    """One limit, with what it stands between: the median of good adapters, and of what does nothing of the kind."""

    limit: float
    nothing: float
    good: float


class GateCalibration(_Strict):
    """`gate/<base model>.yaml`: the limits that were found, by tier."""

    base_model: str
    base_weights: str
    """The hash of the weights that it was found with; for other ones it does not count."""
    tiers: Mapping[str, Mapping[LimitName, Calibrated]] = {}


# Ratios that hold on tiny-flux with room to spare. For a base model that was not calibrated, falling short of them is
# a warning.
RATIOS: Mapping[LimitName, Calibrated] = {
    "loss_saved": Calibrated(limit=0.01, nothing=0.0, good=0.1),
    "style_share": Calibrated(limit=0.15, nothing=0.0, good=0.5),
    "style_direction": Calibrated(limit=0.7, nothing=0.0, good=0.9),
    "style_distance": Calibrated(limit=1.0, nothing=1.0, good=0.6),
    "foreign_texture": Calibrated(limit=1.6, nothing=0.0, good=0.2),
    "subject_kept": Calibrated(limit=0.3, nothing=0.0, good=0.7),
    "over_noise": Calibrated(limit=1.5, nothing=1.0, good=4.0),
    "trigger_effect": Calibrated(limit=0.7, nothing=0.0, good=0.9),
}


STACK_SHOWN = "shown in the stack"
# Of stacks, which no single adapter is judged by: half of an effect is still one, a quarter is hardly seen.
_OF_STACK = Calibrated(limit=0.35, nothing=0.0, good=1.0)


class Limits:
    """The limits that one verification goes by, each with where it comes from."""

    def __init__(self, calibrated: Mapping[LimitName, Calibrated] | None, overrides: GateOverrides) -> None:
        self.is_calibrated = calibrated is not None
        self._calibrated = {**RATIOS, **(calibrated or {})}
        self._known = frozenset(calibrated or ())
        self._overrides = overrides

    def of(self, name: LimitName) -> Calibrated:
        """The limit, and what it stands between."""
        own: GateLimit | None = getattr(self._overrides, name)
        found = self._calibrated[name]
        return found if own is None else found.model_copy(update={"limit": own.value})

    def reason(self, name: LimitName) -> str:
        """Why the limit stands where it does."""
        own: GateLimit | None = getattr(self._overrides, name)
        if own is not None:
            return own.reason
        return "calibrated" if name in self._known else "not calibrated for this base model and tier"

    def of_stack(self) -> Calibrated:
        """The limit for each adapter of a stack, and what it stands between."""
        own = self._overrides.stack_shown
        return _OF_STACK if own is None else _OF_STACK.model_copy(update={"limit": own.value})

    def reason_of_stack(self) -> str:
        """Why that limit stands where it does."""
        own = self._overrides.stack_shown
        return "half of an effect still shows, a quarter hardly" if own is None else own.reason

    def is_own(self, name: str) -> bool:
        """True for a limit that a person set."""
        return getattr(self._overrides, name) is not None

    def is_met(self, name: LimitName, figure: float) -> bool:
        """True where a figure is on the right side; NaN never is."""
        return meets(name, figure, self.of(name).limit)

    def margin(self, name: LimitName, figure: float) -> float | None:
        """How far a figure is past its limit, in parts of the way from nothing to the median good one.

        None where nothing itself meets the limit: then there is no such way.
        """
        found = self.of(name)
        way = found.good - found.nothing
        return None if not way or self.is_met(name, found.nothing) else (figure - found.limit) / way

    def fails(self, name: LimitName) -> bool:
        """True where falling short is a failure: the limit is calibrated, or a person's own. Else it is a warning."""
        return name in self._known or getattr(self._overrides, name) is not None

    def as_json(self) -> dict[str, Any]:
        """Every limit with its reason."""
        return {name: {"limit": self.of(name).limit, "reason": self.reason(name)} for name in LIMIT_NAMES}


def limits_for(calibration: GateCalibration | None, weights_hash: str, tier: str, overrides: GateOverrides) -> Limits:
    """The limits for a tier of a base model; a calibration over other weights does not count."""
    is_right = calibration is not None and calibration.base_weights == weights_hash
    return Limits(calibration.tiers.get(tier) if calibration is not None and is_right else None, overrides)


def calibration_values(limits: Limits, overrides: GateOverrides) -> dict[str, Any]:
    """What of the limits a verification's fingerprint holds, by name: the numbers, and a person's reasons."""
    numbers = {name: limits.of(name).limit for name in sorted(LIMIT_NAMES)}
    kinds = [name for name in sorted(LIMIT_NAMES) if limits.fails(name)]
    return {"limits": numbers, "failing": kinds, "reasons": counted_fields(overrides, frozenset())}
