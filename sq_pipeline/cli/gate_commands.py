"""`adapter verify` and `gate calibrate`: judging a file, and finding the limits that files are judged by."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, QuietOption, SourceOption
from sq_pipeline.cli.printing import print_json, print_judgement, print_line, say
from sq_pipeline.cli.terminal.stderr import shown_progress
from sq_pipeline.common.layout import data_root


def _verify(
    file: Path,
    source: Path,
    root: Path,
    base_model: str,
    tier: str,
    trigger: str | None,
    reference: Path | None,
) -> tuple[dict[str, Any], str, bytes]:
    from sq_pipeline.base_models.base_models import resolve_base_model
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.pipeline.verify_file import verify_file
    from sq_pipeline.verification.report import draw_report_sheet, write_markdown
    from sq_pipeline.wiring import real_engines

    data = open_data_dir(root)
    context = Context(data, real_engines(data))
    with shown_progress():
        report = verify_file(context, file, source, resolve_base_model(base_model), tier, trigger, reference)
    return report.as_json(), write_markdown(report), draw_report_sheet(report) or b""


def _calibrate(
    root: Path, base_model: str, tier: str, pictures: Path | None, folder: Path | None, *, is_sample: bool
) -> dict[str, Any]:
    from sq_pipeline.base_models.base_models import resolve_base_model
    from sq_pipeline.calibration.calibrate import (
        CalibrationRequest,
        calibrate,
        limits_in_use,
        write_limits,
        wrong_ones,
    )
    from sq_pipeline.calibration.table import summarise, write_table
    from sq_pipeline.common.atomic import write_text
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.wiring import real_engines

    data, model = open_data_dir(root), resolve_base_model(base_model)
    context = Context(data, real_engines(data))
    place = folder or data.bench_root / f"{model.name}-{tier}"
    request = CalibrationRequest(model, tier, place, pictures, is_sample)
    with shown_progress():
        bench = calibrate(context, request, say)
    limits = limits_in_use(context, request) if is_sample else None
    answer = {"summary": summarise(bench, limits), "wrong": wrong_ones(bench, limits)}
    if is_sample:
        return answer
    table = place / "table.md"
    write_text(table, write_table(bench, model.name, tier))
    return {**answer, "table": str(table), "limits": str(write_limits(context, request, bench))}


def register(adapter: typer.Typer, gate: typer.Typer) -> None:
    """Add the commands to their groups."""

    @adapter.command()
    def verify(
        file: Path,
        source: SourceOption = None,
        trigger: Annotated[str | None, typer.Option(help="The word that wakes the style.")] = None,
        reference: Annotated[
            Path | None,
            typer.Option(help="A folder of pictures in its style: its dataset's, with captions and lora.yaml or not."),
        ] = None,
        base_model: Annotated[str, typer.Option(help="The base model it was trained for.")] = "tiny-flux",
        tier: Annotated[str, typer.Option(help="Whose verify prompts to use.")] = "landscape",
        sheet: Annotated[Path | None, typer.Option(help="Also write the pictures to this PNG.")] = None,
        data: DataOption = None,
        _quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Measure what is applied of an adapter file, render with and without it, and judge it; exit 1 if it fails."""
        from sq_pipeline.common.atomic import write_bytes

        report, markdown, png = _verify(file, source or file, data_root(data), base_model, tier, trigger, reference)
        if sheet is not None and png:
            write_bytes(sheet, png)
        print_judgement(report, markdown, as_json=as_json)

    @gate.command()
    def calibrate(
        base_model: Annotated[str, typer.Option(help="The base model whose limits are wanted.")] = "tiny-flux",
        tier: Annotated[str, typer.Option(help="Whose verify prompts to use.")] = "landscape",
        pictures: Annotated[
            Path | None,
            typer.Option(help="Plain pictures, each with a sentence in a .txt; tiny-flux has its own.", metavar="DIR"),
        ] = None,
        folder: Annotated[
            Path | None,
            typer.Option(help="Where the bench is made and kept; otherwise in the data directory's store."),
        ] = None,
        is_sample: Annotated[
            bool, typer.Option("--sample", help="One adapter of each fault, in minutes; no limits are found.")
        ] = False,
        data: DataOption = None,
        _quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Train good adapters and broken ones, measure them, and write the gate's limits for a base model and a tier.

        What was trained and measured is kept: after Ctrl-C it goes on. Exit 1 where an adapter is judged wrongly, by
        limits that it had no part in; of a sample, by those in use.
        """
        answer = _calibrate(data_root(data), base_model, tier, pictures, folder, is_sample=is_sample)
        if as_json:
            print_json(answer)
        else:
            print_line(answer["summary"])
            for line in answer["wrong"]:
                print_line(f"wrong: {line}")
            for name in ("table", "limits"):
                if name in answer:
                    print_line(f"{name}: {answer[name]}")
        raise typer.Exit(1 if answer["wrong"] else 0)
