"""Verdicts on an adapter: figures against thresholds. Not here: pictures and SSIM (`verification.verify`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.pictures.ports import AppliedAdapter
from sq_pipeline.verification.fidelity import FidelityReport, LayerFidelity
from sq_pipeline.verification.thresholds import FidelityThresholds, Thresholds

FIDELITY = "adapter fidelity"  # the name of check 1
_CHECK_OF_BEFORE = "trigger discriminates"
_MOST_NAMES = 3

Outcome = Literal["passed", "warned", "failed", "skipped"]


@dataclass(frozen=True)
class Verdict:
    """One check: its figure, what it had to be, and the outcome. `figure` is None where nothing was measured.

    `limit` is the number in `threshold`; `null` what nothing at all would have given, `good` what good adapters gave.
    `warned`: it fell short of a limit that nobody calibrated, or that is advice. `sound_scales`: the least and the
    largest scale at which the adapter was found to be sound. `margin`: how far the figure is past its limit, in parts
    of the way from nothing to a good one; below 0 it is short.
    """

    check: str
    outcome: Outcome
    figure: float | None
    threshold: str
    detail: str
    limit: float | None = None
    null: float | None = None
    good: float | None = None
    sound_scales: tuple[float, float] | None = None
    margin: float | None = None


def judge_fidelity(report: FidelityReport | None, thresholds: FidelityThresholds, problem: str = "") -> Verdict:
    """Every layer, each as exact as its dtype allows. Without a report, `problem` says why there is none.

    The figure is the largest relative error of a layer (1 for one that was missed); None where it is not finite.
    """
    share = f"{100 * thresholds.layers_share_min.value:g} % of layers"
    kept = f"share kept ≥ {thresholds.share_kept_min.value:g}"
    if report is None:
        return Verdict(FIDELITY, "failed", None, f"{share}, {kept}", problem)
    limit = thresholds.relative_error_max(report.precision).value
    threshold = f"{share}, relative error ≤ {limit:g} ({report.precision}), {kept}"
    faults = list(_faults(report, thresholds, limit))
    detail = "; ".join(faults) if faults else _summary(report)
    return Verdict(FIDELITY, "failed" if faults else "passed", report.relative_error, threshold, detail)


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


def _judge_ssim(check: str, ssims: Sequence[float], figure: float, limit: float, kind: str) -> Verdict:
    each = ", ".join(f"{ssim:.4f}" for ssim in ssims)
    outcome: Outcome = "passed" if ssims and figure < limit else "failed"
    detail = f"SSIM {each}" if each else "no pictures"
    return Verdict(check, outcome, figure, f"{kind} SSIM < {limit}", detail, limit, 1.0)


def percent(share: float) -> str:
    """A share as sentences say it."""
    return f"{100 * share:.0f} %"


def has_passed(verdicts: Sequence[Verdict]) -> bool:
    """True when nothing failed and at least one check was made."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return "failed" not in outcomes and "passed" in outcomes


def failed_names(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The checks that failed, sorted: all of a verification that counts downstream.

    A check that was not made, or only warned, stops nothing, and so counts as one that passed.
    """
    return tuple(sorted(verdict.check for verdict in verdicts if verdict.outcome == "failed"))


def verdicts_version(verdicts: Sequence[Verdict], adapter_version: str) -> str:
    """The data version of a verification: the adapter, and which checks failed; no figures, no thresholds.

    What the gate of before has judged, which had a check of that name, keeps the version that it had.
    """
    outcomes: dict[str, str] = {verdict.check: verdict.outcome for verdict in verdicts}
    if _CHECK_OF_BEFORE not in outcomes:
        outcomes = dict.fromkeys(failed_names(verdicts), "failed")
    return fingerprint({"adapter": adapter_version, "outcomes": outcomes})


def _faults(report: FidelityReport, thresholds: FidelityThresholds, limit: float) -> Iterator[str]:
    yield from report.problems[:1]
    if not report.wanted:
        yield "the source adds to no layer"
    elif report.layers_share < thresholds.layers_share_min.value:
        yield f"{len(report.missed)} of {len(report.wanted)} layers were missed ({_names(report.missed)})"
    elif report.unmatched_keys and thresholds.layers_share_min.value == 1:
        first, *others = report.unmatched_keys
        yield f"the loader has no use for {first}{f' and {len(others)} more' if others else ''}"
    if report.extra:
        yield f"{len(report.extra)} layers changed to which the source adds nothing ({_names(report.extra)})"
    # a missed layer is counted above, by the share that may be missed
    there = [layer for layer in report.worst if not layer.is_missed and not layer.is_extra]
    # written so that NaN is a fault
    if wrong := [layer for layer in there if not layer.relative_error <= limit]:
        count = f", and {len(wrong) - 1} more layers" if len(wrong) > 1 else ""
        yield f"relative error {wrong[0].relative_error:.2g} in {wrong[0].layer}{count}"
    if weak := [layer for layer in there if not layer.share_kept >= thresholds.share_kept_min.value]:
        least = min(weak, key=lambda layer: layer.share_kept)
        yield f"share kept {least.share_kept:.4f} in {least.layer}"


def _summary(report: FidelityReport) -> str:
    worst = report.worst[0]
    return (
        f"{len(report.wanted) - len(report.missed)} of {len(report.wanted)} layers, largest relative error "
        f"{worst.relative_error:.2g} ({worst.layer}), share kept {report.share_kept:.4f}"
    )


def _names(layers: Sequence[LayerFidelity]) -> str:
    names = [layer.layer or layer.slot for layer in layers[:_MOST_NAMES]]
    more = f" and {len(layers) - len(names)} more" if len(layers) > len(names) else ""
    return ", ".join(names) + more
