"""`sq-pipeline serve`: the warm render server of a data directory. Not here: what it does (`sq_pipeline.serve`)."""

import sys

import typer

from sq_pipeline.cli.options import DataOption
from sq_pipeline.storage.layout import data_root, open_data_dir


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def serve(data: DataOption = None) -> None:
        """Hold the base model warm and render what runs and others ask for; Ctrl-C finishes the picture in hand."""
        from sq_pipeline.engines import registry
        from sq_pipeline.serve.jobs import ServedEngines
        from sq_pipeline.serve.server import serve as serve_renders

        directory = open_data_dir(data_root(data))
        stream = sys.stderr  # while mflux renders, sys.stderr is not the terminal

        def say(line: str) -> None:
            stream.write(f"{line}\n")
            stream.flush()

        engines = ServedEngines(
            renderer=registry.renderer(directory),
            weights_hash=registry.quick_weights_hash(directory),
            token_counter=lambda name: registry.token_counter(name, directory),
        )
        serve_renders(directory, engines, say)
