"""`pick`, `lock`, `adopt`, `unlock`, `restore`: what a person decides of one picture, in their name.

Not here: what that does (`pipeline.choices`), looking at what was decided (`history_command`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sq_pipeline.cli.options import DataOption, JsonOption, TierOption
from sq_pipeline.cli.pictures.takes_command import PictureArgument
from sq_pipeline.cli.printing import print_json, print_line, say
from sq_pipeline.cli.terminal.completion import complete_picture
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.layout import DataDir, data_root, open_data_dir

if TYPE_CHECKING:
    from sq_pipeline.common.tiers import Tier
    from sq_pipeline.content.records import Choice, World
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.pipeline.worlds.named_picture import NamedPicture

ByOption = Annotated[str, typer.Option("--by", help="Who decides it.", metavar="WHO")]
WhyOption = Annotated[str, typer.Option("--why", help="Why; it is kept.", metavar="WHY")]
ReplaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--replace",
        help="Archive a person's file at this picture's place first; several times.",
        metavar="G/W/SLUG",
        autocompletion=complete_picture,
    ),
]


def archive_theirs(data: DataDir, names: Sequence[str], tier: str | None) -> None:
    """Put files of a person's away that stand at pictures' places; raises SelectionError."""
    from sq_pipeline.pipeline.choices.in_place import put_all_away
    from sq_pipeline.wiring import real_engines

    put_all_away(data, real_engines(data), names, tier, say)


def decide(
    data: Path | None,
    name: str,
    tier: str | None,
    choose: "Callable[[Context, NamedPicture], Choice | None]",
    *,
    as_json: bool,
) -> None:
    """Let `choose` enter a choice, put the picture in place where that takes no rendering, and say how it stands."""
    from sq_pipeline.pipeline.choices.in_place import place_now
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.pipeline.worlds.named_picture import find_picture
    from sq_pipeline.wiring import real_engines

    directory = open_data_dir(data_root(data))
    engines = real_engines(directory)
    context = Context(directory, engines, looks_ahead=False)
    picture = find_picture(context, name, tier)
    choice = choose(context, picture)
    stands = place_now(directory, engines, name, picture.tier)
    said = "let go" if choice is None else choice.describe
    _show(context, picture.world, picture.tier, picture.subject.slug, choice, said, stands, as_json=as_json)


def _show(
    context: "Context",
    world: "World",
    tier: "Tier",
    slug: str,
    choice: "Choice | None",
    said: str,
    stands: str,
    *,
    as_json: bool,
) -> None:
    """What was decided and how the picture stands, or JSON that names the picture as all does."""
    from dataclasses import asdict

    if not as_json:
        print_line(f"{world.key}/{slug}: {said}\n{stands}")
        return
    place = context.picture_place(world, tier, slug)
    named = {"genre": world.genre, "world": world.name, "poi": slug, "tier": tier, "path": context.data.relative(place)}
    sha256 = hash_file(place) if place.is_file() else None
    print_json({**named, "sha256": sha256, "choice": None if choice is None else asdict(choice), "stands": stands})


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command()
    def pick(
        picture: PictureArgument,
        take: Annotated[int, typer.Option("--take", help="The number of the take.", metavar="N")],
        by: ByOption,
        why: WhyOption = "",
        tier: TierOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Let a take be the picture, also when its prompt or its style changes later."""
        from sq_pipeline.pipeline.choices.choose import Said
        from sq_pipeline.pipeline.choices.choose import pick as choose

        said = Said(by, why)
        decide(data, picture, tier, lambda context, named: choose(context, named, take, said), as_json=as_json)

    @app.command()
    def lock(
        picture: PictureArgument,
        by: ByOption,
        why: WhyOption = "",
        tier: TierOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Keep the picture that is there, whatever changes."""
        from sq_pipeline.pipeline.choices.choose import Said
        from sq_pipeline.pipeline.choices.choose import lock as choose

        said = Said(by, why)
        decide(data, picture, tier, lambda context, named: choose(context, named, said), as_json=as_json)

    @app.command()
    def adopt(
        picture: PictureArgument,
        by: ByOption,
        file: Annotated[
            Path | None, typer.Argument(metavar="[FILE]", help="Your file; otherwise the one at the picture's place.")
        ] = None,
        why: WhyOption = "",
        any_size: Annotated[bool, typer.Option("--any-size", help="Also one of another size.")] = False,
        tier: TierOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Let a retouched or hand-made file be the picture, whatever changes."""
        from sq_pipeline.pipeline.choices.choose import Said
        from sq_pipeline.pipeline.choices.choose import adopt as choose

        said = Said(by, why)
        decide(
            data,
            picture,
            tier,
            lambda context, named: choose(context, named, file, said, is_any_size=any_size),
            as_json=as_json,
        )

    @app.command()
    def restore(
        picture: PictureArgument,
        version: Annotated[str, typer.Argument(metavar="VERSION", help="Its first digits, as `history` has them.")],
        by: ByOption,
        why: WhyOption = "",
        tier: TierOption = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Put an earlier version of a picture back, and keep it."""
        from sq_pipeline.pipeline.choices.choose import Said
        from sq_pipeline.pipeline.choices.choose import restore as choose

        said = Said(by, why)
        decide(data, picture, tier, lambda context, named: choose(context, named, version, said), as_json=as_json)

    @app.command()
    def unlock(
        picture: PictureArgument, tier: TierOption = None, data: DataOption = None, as_json: JsonOption = False
    ) -> None:
        """Let go of a lock or an adoption, or of a pick where that is all; files stay in `chosen/`."""
        from sq_pipeline.pipeline.choices.choose import unlock as let_go
        from sq_pipeline.pipeline.choices.in_place import place_now
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.wiring import real_engines

        directory = open_data_dir(data_root(data))
        engines = real_engines(directory)
        context = Context(directory, engines, looks_ahead=False)
        shown, choice = let_go(context, picture, tier)
        stands = place_now(directory, engines, picture, shown)
        key, _, slug = picture.rpartition("/")
        said = f"no longer {'decided' if choice is None else choice.describe}"
        _show(context, context.catalog.worlds[key], shown, slug, choice, said, stands, as_json=as_json)
