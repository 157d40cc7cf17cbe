"""Options that every command shares, and how they are understood. Not here: any command."""

from pathlib import Path
from typing import Annotated

import typer

from sq_pipeline.cli.terminal.completion import complete_tier, complete_world
from sq_pipeline.common.hints import data_named
from sq_pipeline.common.processes.progress import quietly
from sq_pipeline.common.tiers import TIERS


def _name(context: typer.Context, data: Path | None) -> Path | None:
    context.with_resource(data_named(data))  # hints say it as it was given, until the command ends
    return data


def _hush(context: typer.Context, is_quiet: bool) -> bool:
    if is_quiet:
        context.with_resource(quietly())  # until the command ends
    return is_quiet


DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", callback=_name, help="The data directory; otherwise SQ_DATA, otherwise the checkout's own `data`."
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_hush, help="Print results and errors only, no progress.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
WorldOption = Annotated[
    str | None,
    typer.Option("--world", help="Only this world, as GENRE/WORLD.", metavar="G/W", autocompletion=complete_world),
]
TierOption = Annotated[
    str | None,
    typer.Option(
        "--tier", help=f"Only this tier's pictures: {', '.join(TIERS)}.", metavar="T", autocompletion=complete_tier
    ),
]
SourceOption = Annotated[
    Path | None,
    typer.Option(
        "--source", help="The adapter as it was trained, in any dialect; otherwise FILE itself.", metavar="FILE"
    ),
]
