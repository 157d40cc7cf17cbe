"""`sq-pipeline ui`: Dagster's own pages over a data directory, on this machine only."""

import os
import signal
import subprocess
import sys
from typing import Annotated

import typer

from sq_pipeline.cli.options import DataOption
from sq_pipeline.common.layout import data_root


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def ui(
        data: DataOption = None,
        port: Annotated[int, typer.Option(help="The port on this machine.", min=1, max=65535)] = 3000,
    ) -> None:
        """Open Dagster over this data directory's graph and runs; Ctrl-C stops it."""
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.content.packs import read_catalog
        from sq_pipeline.defs.instance import open_instance, prepare_home
        from sq_pipeline.defs.partitions import sync_partitions

        directory = open_data_dir(data_root(data))
        with open_instance(directory) as instance:
            sync_partitions(read_catalog(directory), instance)
        environment = {**os.environ, "SQ_DATA": str(directory.root), "DAGSTER_HOME": str(prepare_home(directory))}
        command = [sys.executable, "-m", "dagster", "dev", "-m", "sq_pipeline.definitions"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, env=environment)
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # its webserver and daemon are its children: wait until it has put them down
            process.send_signal(signal.SIGINT)
            code = process.wait()
        raise typer.Exit(0 if code in (0, -signal.SIGINT, 130) else 1)
