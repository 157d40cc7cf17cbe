"""`allow`: a person's yes to the program of others that a data directory names. Not here: where it is kept."""

from typing import Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.layout import data_root


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def allow(data: DataOption = None, as_json: JsonOption = False) -> None:
        """Allow trainings to run the mlx-examples and the Python that `sq.yaml` names, as they are now."""
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.engines.allowed_programs import allow as keep_yes
        from sq_pipeline.engines.trainers.mlx_examples.checkout import open_checkout

        program = open_checkout(open_data_dir(data_root(data))).program()
        file = keep_yes(program)
        told: dict[str, Any] = {
            "command": list(program.command),
            "files": dict(program.files),
            "identity": program.identity,
            "kept_in": str(file),
        }
        if as_json:
            print_json(told)
            return
        print_table(("file", "sha256"), program.files.items())
        print_line(
            f"allowed: {' '.join(program.command)}, as long as these {len(program.files)} files stay as they are"
        )
        print_line(f"kept in {file}")
