"""A verification as something to look at: Markdown, and a sheet of its pictures. Not here: judging (`verify`)."""

import io

from sq_pipeline.core.verdicts import FIDELITY
from sq_pipeline.stages.fidelity_report import cell, figure, layer_lines, threshold_lines
from sq_pipeline.stages.sheets import Tile, draw_sheet
from sq_pipeline.stages.verify import VerificationReport

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
