"""`gallery`: every expected picture on a page, or in a folder. Not here: the page (`sq_pipeline.gallery`)."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sq_pipeline.cli.options import DataOption
from sq_pipeline.cli.printing import say
from sq_pipeline.common.layout import data_root

_PortOption = Annotated[
    int | None,
    typer.Option("--port", help="The port on this machine; 0: any that is free.", min=0, max=65535, show_default=False),
]
_ExportOption = Annotated[
    Path | None,
    typer.Option("--export", help="Write the page and its pictures into this folder, and end.", metavar="DIR"),
]


_GRACE_S = 3  # for a picture that is being rendered


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def gallery(
        data: DataOption = None,
        port: _PortOption = None,
        is_opened: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
        is_read_only: Annotated[bool, typer.Option("--read-only", help="Let nothing be done on the page.")] = False,
        export: _ExportOption = None,
    ) -> None:
        """Show every expected picture, how it stands and why, on a page of this machine; Ctrl-C stops it.

        The page follows a run by itself. On it one rerolls, picks, locks, adopts and puts back pictures. With --export
        it is written as files, which need no server.
        """
        from sq_pipeline.cli.parents import end_with_parent
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.gallery.export import export_gallery
        from sq_pipeline.gallery.listening import HOST, answer_until_asked_to_end, take_port
        from sq_pipeline.gallery.server import gallery_app
        from sq_pipeline.gallery.survey import Survey
        from sq_pipeline.gallery.workshop import Workshop
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.wiring import real_engines

        directory = open_data_dir(data_root(data))
        survey = Survey(directory, lambda: Context(directory, real_engines(directory)))
        if export is not None:
            written = export_gallery(survey, export)
            say(f"{written.pictures} pictures are in {export}; open {export / 'index.html'} in a browser")
            return
        end_with_parent()
        taken = take_port(port)
        address = f"http://{HOST}:{taken.getsockname()[1]}/"

        def when_ready() -> None:
            sys.stdout.write(f"the gallery is at {address} (Ctrl-C stops it)\n")
            sys.stdout.flush()
            if is_opened:
                import webbrowser

                webbrowser.open(address)

        workshop = None if is_read_only else Workshop(survey)
        survey.start()
        try:
            answer_until_asked_to_end(gallery_app(survey, workshop), taken, when_ready)
        finally:
            survey.stop()
            if workshop is not None:
                workshop.stop(_GRACE_S)
