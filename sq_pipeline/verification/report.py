"""A verification as something to look at: Markdown, and a sheet of its pictures. Not here: judging (`verify`)."""

import io
import math

from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import FIDELITY, percent
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


def limit_lines(report: VerificationReport) -> list[str]:
    """Every limit of the picture checks that a person set, with the reason."""
    own = {name: value for name, value in report.limits.as_json().items() if report.limits.is_own(name)}
    if not own:
        return []
    lines = ["| limit | value | reason |", "|---|---|---|"]
    return [*lines, *(f"| gate.{name} | {limit['limit']:g} | {cell(limit['reason'])} |" for name, limit in own.items())]


_MARKS = {"passed": "✓", "warned": "!", "failed": "✗", "skipped": "–"}


def write_markdown(report: VerificationReport) -> str:
    """The report as Markdown: the verdict in a sentence, every check with its null, layers, limits and why."""
    used = report.in_use
    lines = [
        f"# {report.adapter}: {report.sentence}",
        "",
        f"Base model {report.base_model}, trigger {report.trigger or 'none'}, adapter `{report.adapter_version}`, "
        f"{report.pictures_rendered} pictures with an adapter.",
        "",
        f"| check | outcome | figure |{' in use |' if used else ''} nothing gives | good ones give | wanted | margin "
        "| what it means |",
        f"|---|---|---|{'---|' if used else ''}---|---|---|---|---|",
    ]
    for verdict in report.verdicts:
        cells = (
            verdict.check,
            f"{_MARKS[verdict.outcome]} {verdict.outcome}",
            figure(verdict.figure),
            *((figure(used.figures.get(verdict.check)),) if used else ()),
            figure(verdict.null),
            figure(verdict.good),
            verdict.threshold,
            "" if verdict.margin is None else percent(verdict.margin),
            cell(verdict.detail),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Margin: how far past its limit, in parts of the way from nothing to the median of good adapters."]
    if used:
        lines += ["", f"In use: the figures of the version that pictures are made with now, `{used.version}`."]
    if not report.limits.is_calibrated:
        lines += [
            "",
            f"The limits are not calibrated for {report.base_model} and this tier: what falls short of them is a "
            "warning.",
        ]
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
    if own := limit_lines(report):
        lines += ["", *own]
    return "\n".join(lines) + "\n"


def draw_report_sheet(report: VerificationReport) -> bytes | None:
    """A PNG that a person judges at a glance: a row a prompt with the dataset, the base model and the adapter, both
    with the trigger and with the control word; the verdict above. None without pictures.
    """
    shown = report.pictures
    if shown is None:
        return None
    rows: list[list[Tile]] = []
    for index, (base, styled) in enumerate(zip(shown.base, shown.styled, strict=True)):
        row = [Tile(report.dataset[index], "dataset")] if index < len(report.dataset) else []
        row += [Tile(base, "base"), Tile(styled, "with")]
        if report.in_use is not None and index < len(report.in_use.pictures):
            row.append(Tile(report.in_use.pictures[index], "in use"))
        if shown.styled_with_control:
            row += [
                Tile(shown.base_with_control[index], "base, control word"),
                Tile(shown.styled_with_control[index], "with, control word"),
            ]
        rows.append(row)
    buffer = io.BytesIO()
    draw_sheet(rows, title=f"{report.adapter}: {report.sentence}").save(buffer, format="PNG")
    return buffer.getvalue()
