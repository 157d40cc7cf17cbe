"""`adapter choose`: a person's checkpoint in place of the proposed one, or the proposed one again."""

from typing import Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line
from sq_pipeline.cli.terminal.completion import complete_adapter
from sq_pipeline.common.hints import command, option
from sq_pipeline.common.layout import data_root


def register(adapter: typer.Typer) -> None:
    """Add the command to the `adapter` group."""

    @adapter.command()
    def choose(
        name: Annotated[
            str,
            typer.Argument(metavar="NAME", help="The adapter's name, or GENRE/NAME.", autocompletion=complete_adapter),
        ],
        iteration: Annotated[int | None, typer.Option("--iteration", help="The kept checkpoint to use.")] = None,
        by: Annotated[str | None, typer.Option("--by", help="Who chooses it.")] = None,
        proposed: Annotated[bool, typer.Option("--proposed", help="Go back to the proposed one.")] = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Use another checkpoint of an adapter's training than the proposed one, in somebody's name."""
        from sq_pipeline.common.errors import Fault, SelectionError
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.pipeline.adapters.choose_checkpoint import choose_checkpoint, choose_proposed
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.wiring import real_engines

        if proposed == (iteration is not None) or (proposed and by is not None):
            one = option("adapter choose", "--iteration", "N", "--by", "WHO")
            hint = f"give `{one}`, or `{option('adapter choose', '--proposed')}` alone"
            raise SelectionError(Fault("", "--iteration", "say which checkpoint", hint))
        directory = open_data_dir(data_root(data))
        context = Context(directory, real_engines(directory))
        chosen = context.adapter(name)
        if iteration is None:
            result = choose_proposed(context, chosen)
        else:
            result = choose_checkpoint(context, chosen, iteration, by or "")
        if as_json:
            print_json(result)
        else:
            print_line(_sentence(result))


def _sentence(result: dict[str, Any]) -> str:
    kept = ", ".join(map(str, result["kept"]))
    proposed = result["proposed"]
    if result["by"] is None:
        which = "the proposed checkpoint" if proposed is None else f"iteration {proposed}, the proposed one"
        said = f"{result['adapter']}: {which}, of {kept}"
    else:
        instead = "" if proposed is None else f"; proposed is {proposed}"
        said = f"{result['adapter']}: iteration {result['iteration']} of {kept}, chosen by {result['by']}{instead}"
    return f"{said}. {command('run')} brings up to date what follows"
