"""The thresholds of a verification, each with its default and, where a person may move it, the reason it stands there.

Not here: judging by them (`verdicts`, `fidelity`), reading them from `sq.yaml` (`settings`).
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.base_models.base_models import Dtype
from sq_pipeline.common.fingerprints import counted_fields
from sq_pipeline.common.gate_overrides import GateOverrides


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: `true` is no number


class ShareLimit(_Strict):
    """A share that must be reached, above 0 and at most 1. Whoever moves it says why, and the report says it again."""

    value: float = Field(gt=0, le=1)
    """The share that must be reached."""
    reason: str = Field(pattern=r"\S")
    """Why it stands there. Whoever moves the value says why, and the report repeats it."""


class ErrorLimit(_Strict):
    """A relative error that must not be passed, above 0. Whoever moves it says why, and the report says it again."""

    value: float = Field(gt=0, allow_inf_nan=False)
    """The relative error that must not be passed."""
    reason: str = Field(pattern=r"\S")
    """Why it stands there. Whoever moves the value says why, and the report repeats it."""


class FidelityThresholds(_Strict):
    """What the loader must apply of an adapter's update. The error that counts is that of the dtype it computes in,
    or of the file's where that is coarser: a loader multiplies a scale into the file's matrices.
    """

    layers_share_min: ShareLimit = ShareLimit(value=1.0, reason="a style is trained over all of its layers together")
    """Share of the layers that the loader must patch."""
    relative_error_float32_max: ErrorLimit = ErrorLimit(value=1e-3, reason="float32 rounds to about 1e-6 of an update")
    """Largest relative error of a layer, where the loader computes in float32."""
    relative_error_bfloat16_max: ErrorLimit = ErrorLimit(
        value=1e-2, reason="bfloat16 rounds to about 4e-3 of an update"
    )
    """Largest relative error of a layer, where it computes in bfloat16."""
    share_kept_min: ShareLimit = ShareLimit(
        value=0.98, reason="weaker, and the style is not as strong as it was judged"
    )
    """Share of the update that must be kept."""

    def relative_error_max(self, dtype: Dtype) -> ErrorLimit:
        """The limit at the precision that the loader computes in."""
        return self.relative_error_float32_max if dtype == "float32" else self.relative_error_bfloat16_max

    def limits(self) -> Iterator[tuple[str, ShareLimit | ErrorLimit, bool]]:
        """Every limit: its name, itself, and whether it is the default."""
        for name, field in type(self).model_fields.items():
            limit: ShareLimit | ErrorLimit = getattr(self, name)
            yield name, limit, limit == field.default


class Thresholds(_Strict):
    """The limits of a verification."""

    ssim_changed_max: float = Field(default=0.999, gt=0, le=1)
    """SSIM with and without the adapter below which a picture counts as changed."""
    ssim_trigger_max: float = Field(default=0.97, gt=0, le=1)
    """Counts for nothing any more: what a trigger does is judged by `gate.trigger_effect`."""
    fidelity: FidelityThresholds = FidelityThresholds()
    """What the loader must apply of the update."""
    gate: GateOverrides = GateOverrides()
    """Limits of the picture checks, in place of the calibrated ones."""
    gate_for: dict[str, GateOverrides] = Field(default_factory=dict[str, GateOverrides])
    """The same for one tier, or one adapter (`GENRE/NAME`), by its name."""

    def overrides_for(self, *names: str) -> GateOverrides:
        """A person's limits for an adapter: those for all, then what is said for each of these names."""
        found = self.gate
        for name in names:
            found = self.gate_for.get(name, GateOverrides()).over(found)
        return found


# The fields of version 0.1.0, which every fingerprint holds. A later one is not to be added: see `counted_fields`.
_FIRST_FIELDS = frozenset({"ssim_changed_max", "ssim_trigger_max", "fidelity"}) | {
    f"fidelity.{limit}{part}"
    for limit in ("layers_share_min", "relative_error_float32_max", "relative_error_bfloat16_max", "share_kept_min")
    for part in ("", ".value", ".reason")
}


def threshold_values(thresholds: Thresholds) -> dict[str, Any]:
    """The thresholds that a verification's fingerprint holds, by name, without the gate's own limits."""
    values = counted_fields(thresholds, _FIRST_FIELDS)
    return {name: value for name, value in values.items() if name not in ("gate", "gate_for")}
