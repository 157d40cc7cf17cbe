"""A fidelity as something to look at: Markdown tables of layers and thresholds. Not here: judging (`core.verdicts`)."""

import math

from sq_pipeline.core.fidelity import FidelityReport
from sq_pipeline.core.thresholds import FidelityThresholds

_MOST_LAYERS = 10
_LINE_BREAKS_AND_BARS = str.maketrans({"|": "\\|", "\n": " ", "\r": " "})


def cell(text: str) -> str:
    """The text as one cell of a table."""
    return text.translate(_LINE_BREAKS_AND_BARS)


def figure(value: float | None) -> str:
    """A figure as reports show it: four decimals, or powers of ten where these would say nothing; empty for None."""
    if value is None:
        return ""
    is_plain = value == 0 or (math.isfinite(value) and 1e-3 <= abs(value) < 1e6)
    return f"{value:.4f}" if is_plain else f"{value:.1e}"


def layer_lines(report: FidelityReport) -> list[str]:
    """What was measured, and the layers with the largest errors."""
    shown = report.worst[:_MOST_LAYERS]
    told = report.loader_share_kept
    shares = f"share kept {figure(report.share_kept)}" + (
        f", by its own count {figure(told)}" if told is not None else ""
    )
    lines = [
        f"{report.loader} over {report.base_model}, {report.mode}: {len(report.wanted)} layers wanted, "
        f"{len(report.missed)} missed, {len(report.extra)} changed unasked; {shares}.",
    ]
    lines += [f"* {cell(problem)}" for problem in report.problems[:_MOST_LAYERS]]
    lines += [f"* the loader has no use for `{cell(key)}`" for key in report.unmatched_keys[:_MOST_LAYERS]]
    if shown:
        title = "all layers" if len(shown) == len(report.layers) else f"the worst of {len(report.layers)} layers"
        lines += [
            "",
            f"| {title} | in the source | norm wanted | norm applied | relative error | share kept |",
            "|---|---|---|---|---|---|",
        ]
    for layer in shown:
        figures = (layer.norm_wanted, layer.norm_applied, layer.relative_error, layer.share_kept)
        names = f"{layer.layer or 'no such layer'} | {cell(layer.slot) or 'nothing'}"
        lines.append(f"| {names} | {' | '.join(map(figure, figures))} |")
    return lines


def threshold_lines(thresholds: FidelityThresholds) -> list[str]:
    """Every threshold with the reason it stands where it does."""
    lines = ["| threshold | value | set by | reason |", "|---|---|---|---|"]
    for name, limit, is_default in thresholds.limits():
        who = "default" if is_default else "sq.yaml"
        lines.append(f"| fidelity.{name} | {limit.value:g} | {who} | {cell(limit.reason)} |")
    return lines
