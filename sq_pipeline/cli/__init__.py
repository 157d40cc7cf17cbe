"""The command line. Here: the application, its groups, how errors leave it. Commands are in modules of their own."""

import os
import sys
from typing import Annotated

import typer

from sq_pipeline import __version__
from sq_pipeline.cli import (
    allow_command,
    choose_command,
    content_commands,
    dataset_commands,
    doctor_command,
    fidelity_command,
    gate_commands,
    inspect_command,
    pipeline_commands,
    promotion_commands,
    remap_command,
    serve_command,
    ui_command,
)
from sq_pipeline.cli.interrupts import insist_on_interrupts
from sq_pipeline.cli.pictures import (
    choice_commands,
    gallery_command,
    history_command,
    takes_command,
    verify_image_command,
)
from sq_pipeline.cli.terminal.examples import add_examples
from sq_pipeline.common.endings import explain_end
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.processes.asked_to_end import INTERRUPTED, INTERRUPTED_LINE
from sq_pipeline.telemetry.exporters import wanted_exporters

app = typer.Typer(
    name="sq-pipeline",
    help="Train style LoRAs with MLX, remap them to mflux, prove that they work, and render a game's places.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: laying it out with rich takes longer than all else of `--help`
)
adapter_app = typer.Typer(help="Tools for adapter files.", no_args_is_help=True, rich_markup_mode=None)
dataset_app = typer.Typer(help="Tools for training datasets.", no_args_is_help=True, rich_markup_mode=None)
gate_app = typer.Typer(help="What adapters are judged by.", no_args_is_help=True, rich_markup_mode=None)
choices_app = typer.Typer(help="What people chose of pictures.", no_args_is_help=True, rich_markup_mode=None)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        sys.stdout.write(f"sq-pipeline {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the application itself."""


pipeline_commands.register(app)
content_commands.register(app)
dataset_commands.register(dataset_app)
inspect_command.register(adapter_app)
remap_command.register(adapter_app)
fidelity_command.register(adapter_app)
gate_commands.register(adapter_app, gate_app)
promotion_commands.register(adapter_app)
choose_command.register(adapter_app)
takes_command.register(app)
choice_commands.register(app)
history_command.register(app, choices_app)
gallery_command.register(app)
verify_image_command.register(app)
ui_command.register(app)
serve_command.register(app)
doctor_command.register(app)
allow_command.register(app)
app.add_typer(dataset_app, name="dataset")
app.add_typer(adapter_app, name="adapter")
app.add_typer(choices_app, name="choices")
app.add_typer(gate_app, name="gate")
add_examples(app)


def main() -> None:
    """Run the application: a user's fault is one line on stderr and exit 1, Ctrl-C one line and exit 130.

    What the disk or a database refused is one line too. Anything else is a bug of ours, and keeps its traceback.
    """
    insist_on_interrupts()
    try:
        wanted_exporters(os.environ)  # a wrong setting is told before the work, not in the middle of it
        code = app(standalone_mode=False)
    except SqPipelineError as error:
        for fault in error.faults:
            sys.stderr.write(f"error: {fault}\n")
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _click_error() as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        fault = explain_end(error)
        if fault is None:
            raise
        sys.stderr.write(f"error: {fault}\n")
        sys.exit(1)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code as well
        sys.stderr.write(INTERRUPTED_LINE)
    sys.exit(code if isinstance(code, int) else 0)


def _click_error() -> type[typer.BadParameter]:
    # typer may bring its own copy of click; its usage errors are not ours to format
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
