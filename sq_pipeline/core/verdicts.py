"""Verdicts on an adapter: figures against thresholds. Not here: pictures and SSIM (`stages.verify`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.protocols import AppliedAdapter

Outcome = Literal["passed", "failed", "skipped"]


class Thresholds(BaseModel):
    """SSIM below which a picture counts as changed, and as answering to its trigger."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: `true` is no number

    ssim_changed_max: float = Field(default=0.999, gt=0, le=1)
    ssim_trigger_max: float = Field(default=0.97, gt=0, le=1)


@dataclass(frozen=True)
class Verdict:
    """One check: its figure, what it had to be, and the outcome. `figure` is None where nothing was measured."""

    check: str
    outcome: Outcome
    figure: float | None
    threshold: str
    detail: str


def judge_matching(applied: AppliedAdapter | None, problem: str = "") -> Verdict:
    """Every key matched, every expected layer patched. Without `applied`, `problem` says why it failed."""
    threshold = "all keys matched, all layers patched"
    if applied is None:
        return Verdict("keys matched", "failed", None, threshold, problem)
    share = applied.keys_matched / max(applied.keys_total, 1)
    detail = (
        f"{applied.keys_matched} of {applied.keys_total} keys, {applied.layers_patched} of "
        f"{applied.layers_expected} layers"
    )
    return Verdict("keys matched", "passed" if applied.is_whole else "failed", share, threshold, detail)


def judge_change(ssims: Sequence[float], thresholds: Thresholds) -> Verdict:
    """With against without the adapter, same prompt and seed. The *largest* SSIM counts: every picture must change."""
    return _judge_ssim("picture changed", ssims, max(ssims, default=1.0), thresholds.ssim_changed_max, "largest")


def judge_trigger(ssims: Sequence[float], thresholds: Thresholds, trigger: str | None) -> Verdict:
    """The trigger against a control word, both with the adapter. The *mean* counts: some scenes have little style."""
    if trigger is None:
        return Verdict("trigger discriminates", "skipped", None, "", "the adapter has no trigger")
    mean = sum(ssims) / len(ssims) if ssims else 1.0
    return _judge_ssim("trigger discriminates", ssims, mean, thresholds.ssim_trigger_max, "mean")


def _judge_ssim(check: str, ssims: Sequence[float], figure: float, limit: float, kind: str) -> Verdict:
    each = ", ".join(f"{ssim:.4f}" for ssim in ssims)
    outcome: Outcome = "passed" if ssims and figure < limit else "failed"
    return Verdict(check, outcome, figure, f"{kind} SSIM < {limit}", f"SSIM {each}" if each else "no pictures")


def has_passed(verdicts: Sequence[Verdict]) -> bool:
    """True when nothing failed and at least one check was made."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return "failed" not in outcomes and "passed" in outcomes


def verdicts_version(verdicts: Sequence[Verdict], adapter_version: str) -> str:
    """The data version of a verification: outcomes and the adapter, without figures or thresholds."""
    return fingerprint({"adapter": adapter_version, "outcomes": {v.check: v.outcome for v in verdicts}})
