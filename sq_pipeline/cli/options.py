"""Options that every command shares, and how they are understood. Not here: any command."""

import os
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="The data directory; otherwise SQ_DATA, otherwise the one shipped with the project."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
WorldOption = Annotated[str | None, typer.Option("--world", help="Only this world, as GENRE/WORLD.", metavar="G/W")]


def shipped_data_root() -> Path:
    """`data/` of the checkout that this package runs from, otherwise `data` in the working directory."""
    beside_package = Path(__file__).resolve().parents[2] / "data"
    return beside_package if beside_package.is_dir() else Path.cwd() / "data"


def data_root(given: Path | None) -> Path:
    """The data directory that is meant: `--data`, then SQ_DATA, then the shipped one."""
    if given is not None:
        return given
    from_environment = os.environ.get("SQ_DATA")
    return Path(from_environment) if from_environment else shipped_data_root()
