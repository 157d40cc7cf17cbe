"""`history`, `choices list`, `choices move`: what a picture was, and what people chose. Nothing is made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, TierOption, WorldOption
from sq_pipeline.cli.pictures.takes_command import PictureArgument
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import data_root

if TYPE_CHECKING:
    from sq_pipeline.pipeline.context import Context


def _open(data: Path | None) -> "Context":
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.wiring import real_engines

    directory = open_data_dir(data_root(data))
    return Context(directory, real_engines(directory), looks_ahead=False)


def register(app: typer.Typer, choices: typer.Typer) -> None:
    """Add the commands to the application and to its group `choices`."""

    @app.command()
    def history(
        picture: PictureArgument, tier: TierOption = None, data: DataOption = None, as_json: JsonOption = False
    ) -> None:
        """Say which versions of a picture there were, and what changed between them, the latest first."""
        from sq_pipeline.pipeline.choices.history import picture_history
        from sq_pipeline.pipeline.worlds.named_picture import find_picture

        context = _open(data)
        named = find_picture(context, picture, tier)
        rows = [version.as_json() for version in picture_history(context, named)]
        if as_json:
            print_json({"picture": named.key, "tier": named.tier, "versions": rows})
        elif rows:
            print_table(("version", "when", "what changed", "file"), map(_row, rows))
            print_line(f"{command('restore', named.key, 'VERSION', '--by', 'WHO', '--tier', named.tier)} puts one back")
        else:
            print_line(f"{named.key} never had a picture")

    @choices.command("list")
    def list_choices(world: WorldOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
        """Say what people chose of pictures."""
        from sq_pipeline.pipeline.choices.listed import listed_choices

        context = _open(data)
        rows = listed_choices(context, world)
        if as_json:
            print_json({"choices": rows})
        elif rows:
            shown = [(f"{row['genre']}/{row['world']}/{row['poi']}", row["tier"], row["told"]) for row in rows]
            print_table(("picture", "tier", "choice"), shown)
        else:
            print_line("nothing is chosen")

    @choices.command("move")
    def move_choices(
        picture: PictureArgument,
        slug: Annotated[str, typer.Argument(metavar="SLUG", help="What its entry is called now.")],
        tier: TierOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Let what was chosen of a picture be another's, whose entry was renamed."""
        from sq_pipeline.pipeline.choices.choose import move
        from sq_pipeline.pipeline.choices.in_place import place_now

        context = _open(data)
        target = move(context, picture, slug, tier)
        stands = place_now(context.data, context.engines, target.key, target.tier)
        if as_json:
            print_json({"from": picture, "picture": target.key, "tier": target.tier, "stands": stands})
        else:
            print_line(f"what was chosen of {picture} is chosen of {target.key}")
            print_line(stands)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    marks = [entry["version"], *(["in place"] if entry["is_in_place"] else []), *filter(None, [entry["note"]])]
    return "\n".join(marks), entry["at"], "\n".join(entry["changes"]), _file(entry["path"])


def _file(path: str | None) -> str:
    return "gone" if path is None else path or "in the store"
