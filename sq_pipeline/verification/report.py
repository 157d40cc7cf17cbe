"""A verification as something to look at: Markdown, and a sheet of its pictures. Not here: judging (`verify`)."""

import io
import math

from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import FIDELITY
from sq_pipeline.verification.verify import VerificationReport

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


_MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def write_markdown(report: VerificationReport) -> str:
    """The report as Markdown: verdicts, layers, thresholds with their reasons, then each prompt's similarities."""
    result = "passed" if report.has_passed else "failed"
    lines = [
        f"# {report.adapter}: verification {result}",
        "",
        f"Base model {report.base_model}, trigger {report.trigger or 'none'}, adapter `{report.adapter_version}`.",
        "",
        "| check | outcome | figure | wanted | detail |",
        "|---|---|---|---|---|",
    ]
    for verdict in report.verdicts:
        outcome = f"{_MARKS[verdict.outcome]} {verdict.outcome}"
        shown = figure(verdict.figure)
        lines.append(f"| {verdict.check} | {outcome} | {shown} | {verdict.threshold} | {cell(verdict.detail)} |")
    if report.remarks:
        lines += ["", *(f"* {cell(remark)}" for remark in report.remarks)]
    if report.verdicts[0].check == FIDELITY and report.verdicts[0].outcome == "failed":
        lines += [
            "",
            "No pictures were rendered: those of an adapter that is not applied as it was trained say nothing.",
        ]
    if report.fidelity is not None:
        lines += ["", *layer_lines(report.fidelity)]
    lines += ["", *threshold_lines(report.thresholds.fidelity)]
    if report.pictures:
        lines += [
            "",
            "SSIM, 1 = the same picture. *Changed*: without against with the adapter. *Trigger*: trigger against",
            "control word. *Leak*: without the adapter against the control word; far below 1, the style shows unasked.",
            "",
            "| prompt | seed | changed | trigger | leak |",
            "|---|---|---|---|---|",
        ]
    for item in report.pictures:
        trigger, leak = ("" if value is None else f"{value:.4f}" for value in (item.ssim_trigger, item.ssim_leak))
        lines.append(f"| {cell(item.prompt)} | {item.seed} | {item.ssim_changed:.4f} | {trigger} | {leak} |")
    return "\n".join(lines) + "\n"


def draw_report_sheet(report: VerificationReport) -> bytes | None:
    """A PNG: a row a prompt; without the adapter, with it, with the control word. None without pictures."""
    if not report.pictures:
        return None
    rows: list[list[Tile]] = []
    for item in report.pictures:
        row = [Tile(item.without_adapter, "without"), Tile(item.with_trigger, f"with, SSIM {item.ssim_changed:.2f}")]
        if item.with_control is not None:
            row.append(Tile(item.with_control, f"control word, SSIM {item.ssim_trigger:.2f}"))
        rows.append(row)
    buffer = io.BytesIO()
    draw_sheet(rows).save(buffer, format="PNG")
    return buffer.getvalue()
