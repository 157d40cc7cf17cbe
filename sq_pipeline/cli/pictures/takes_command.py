"""`takes`: a picture with other seeds, to choose among. Not here: rendering them (`pipeline.worlds.takes`)."""

from typing import Annotated

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, QuietOption, TierOption
from sq_pipeline.cli.printing import print_json, print_line, print_table, say
from sq_pipeline.cli.terminal.completion import complete_picture
from sq_pipeline.cli.terminal.stderr import shown_progress
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import data_root

PictureArgument = Annotated[
    str,
    typer.Argument(metavar="PICTURE", help="The picture, as GENRE/WORLD/SLUG.", autocompletion=complete_picture),
]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def takes(
        picture: PictureArgument,
        tier: TierOption = None,
        count: Annotated[
            int | None,
            typer.Option("--count", help="How many seeds: 8, or 4 of a grid, or 1 of a grid over two things."),
        ] = None,
        first: Annotated[
            int | None, typer.Option("--from", help="The number of the first one: 1, or 0, its own seed, of a grid.")
        ] = None,
        vary: Annotated[
            list[str] | None,
            typer.Option(
                "--vary",
                metavar="KEY=A,B",
                help="A grid over scale=0.6,0.8 of its adapter (of one of several: scale:NAME=…), adapter=NAME,VERSION "
                "(also none, previous, newest), or base_model=NAME,NAME. Twice: columns and rows.",
            ),
        ] = None,
        data: DataOption = None,
        _quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Render a picture with other seeds, and a sheet of them; the game's own picture stays.

        Take N is just what `seed: +N` in the picture's entry makes. Nothing is rendered twice. With --vary they are the
        rows of a labelled grid: the same seeds with other scales, adapters, versions of one, or base models.
        """
        from sq_pipeline.common.layout import open_data_dir
        from sq_pipeline.common.locks import hold_run_lock
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.pipeline.worlds.named_picture import find_picture
        from sq_pipeline.pipeline.worlds.takes import make_takes
        from sq_pipeline.wiring import real_engines

        directory = open_data_dir(data_root(data))
        with shown_progress(), hold_run_lock(directory, say):
            context = Context(directory, real_engines(directory), looks_ahead=False)
            named = find_picture(context, picture, tier)
            found = make_takes(context, named, first, count, vary=vary or ())
            loads = context.engines.renderer().model_loads
        rows = [
            {
                "take": take.number,
                "seed": take.seed,
                **({"vary": dict(take.values)} if take.values else {}),
                "path": directory.relative(take.path),
                "sha256": take.record.objects["picture"].sha256,
                "fingerprint": take.record.fingerprint,
                "is_new": take.is_new,
            }
            for take in found.takes
        ]
        rendered = sum(take.is_new for take in found.takes)
        sheet = directory.relative(found.sheet)
        if as_json:
            told = {"picture": named.key, "tier": named.tier, "takes": rows, "rendered": rendered}
            print_json({**told, "model_loads": loads, "sheet": sheet})
        else:
            axes = [name for name, _ in found.ways]
            lines = [
                (str(row["take"]), str(row["seed"]), *(value for _, value in take.values), take.path.name)
                for row, take in zip(rows, found.takes, strict=True)
            ]
            print_table(("take", "seed", *axes, "picture"), lines)
            print_line(f"{rendered} rendered, {len(rows) - rendered} there before; all in {sheet}")
            way = command("pick", named.key, "--take", "N", "--by", "WHO", "--tier", named.tier)
            print_line(f"to use one, {way}; or write its number into the picture's entry, such as `seed: +1`")
            for name, way in found.ways:
                print_line(f"to use a value of {name}: {way}")
