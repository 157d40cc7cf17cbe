"""`verify-image`: does a picture tell the truth about what made it? Not here: finding out (`pipeline.verify_image`)."""

from pathlib import Path
from typing import Annotated

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table, say
from sq_pipeline.common.layout import data_root
from sq_pipeline.common.text import printable


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def verify_image(
        file: Path,
        render: Annotated[bool, typer.Option("--render", help="Render it again, and compare every pixel.")] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Hold what a picture says of itself against its pixels, the store, the content and the files.

        Exit 1 when something differs that should agree: it was changed, or is forged. That the world has moved on
        since, such as an edited prompt, is no lie.
        """
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.pipeline.verify_image.image import verify_image as check
        from sq_pipeline.wiring import real_engines

        directory = open_data_dir(data_root(data))
        # pictures stand on what is promoted: an adapter that is due does not keep from telling
        context = Context(directory, real_engines(directory), looks_ahead=False)
        report = check(context, file, is_rendered_again=render)
        for line in context.describe_state():
            say(line)
        if as_json:
            print_json(report.as_json())
        else:
            rows = [(item.name, item.outcome, item.detail) for item in report.checks]
            print_table(("check", "", ""), [tuple(map(printable, row)) for row in rows])
            print_line(printable(f"{file.name}: {report.summary}"))
        if report.has_lied:
            raise typer.Exit(1)
