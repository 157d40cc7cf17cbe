"""`adapter verify`: judging a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, SourceOption
from sq_pipeline.cli.printing import print_judgement
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
    report = verify_file(context, file, source, resolve_base_model(base_model), tier, trigger, reference)
    return report.as_json(), write_markdown(report), draw_report_sheet(report) or b""


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

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
        as_json: JsonOption = False,
    ) -> None:
        """Measure what is applied of an adapter file, render with and without it, and judge it; exit 1 if it fails."""
        from sq_pipeline.common.atomic import write_bytes

        report, markdown, png = _verify(file, source or file, data_root(data), base_model, tier, trigger, reference)
        if sheet is not None and png:
            write_bytes(sheet, png)
        print_judgement(report, markdown, as_json=as_json)
