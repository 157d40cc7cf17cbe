"""`sq-pipeline serve`: the warm render server of a data directory. Not here: what it does (`sq_pipeline.serve`)."""

import sys

import typer

from sq_pipeline.base_models import files
from sq_pipeline.cli.options import DataOption, QuietOption
from sq_pipeline.common.layout import data_root, open_data_dir


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def serve(data: DataOption = None, _quiet: QuietOption = False) -> None:
        """Hold the base model warm and render what runs and others ask for; Ctrl-C finishes the picture in hand."""
        from sq_pipeline.cli.parents import end_with_parent
        from sq_pipeline.common.processes.deaths import told_of_death
        from sq_pipeline.common.processes.progress import is_quiet
        from sq_pipeline.engines import factory
        from sq_pipeline.serve.server import serve as serve_renders
        from sq_pipeline.serve.worker import ServedEngines

        end_with_parent()
        directory = open_data_dir(data_root(data))
        stream = sys.stderr  # while mflux renders, sys.stderr is not the terminal

        def warn(line: str) -> None:
            stream.write(f"{line}\n")
            stream.flush()

        def say(line: str) -> None:
            if not is_quiet():
                warn(line)

        engines = ServedEngines(
            renderer=factory.renderer(directory),
            weights_hash=files.quick_weights_hash(directory),
            token_counter=lambda name: factory.token_counter(name, directory),
        )
        with told_of_death("the render server", directory.server_death_note, warn):
            serve_renders(directory, engines, say, warn)
