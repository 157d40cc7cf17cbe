"""`adapter promote`, `adapter history`, `adapter rollback`: which version of an adapter is in use, in whose name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sq_pipeline.cli.options import DataOption, JsonOption
from sq_pipeline.cli.printing import print_json, print_line, print_table
from sq_pipeline.cli.terminal.completion import complete_adapter
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import data_root

if TYPE_CHECKING:
    from sq_pipeline.content.records import Adapter
    from sq_pipeline.pipeline.context import Context

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The adapter's name, or GENRE/NAME.", autocompletion=complete_adapter)
]


def _open(data: Path | None, name: str) -> "tuple[Context, Adapter]":
    from sq_pipeline.common.layout import open_data_dir
    from sq_pipeline.pipeline.context import Context
    from sq_pipeline.wiring import real_engines

    directory = open_data_dir(data_root(data))
    context = Context(directory, real_engines(directory))
    return context, context.adapter(name)


def register(adapter: typer.Typer) -> None:
    """Add the commands to the `adapter` group."""

    @adapter.command()
    def promote(
        name: NameArgument,
        by: Annotated[str, typer.Option("--by", help="Who says yes.")],
        because: Annotated[
            str | None, typer.Option("--because", help="Why, where a check failed; it is kept.", metavar="WHY")
        ] = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Put a verified adapter into use, in somebody's name; over a failed check only with a reason."""
        from sq_pipeline.pipeline.adapters.promote import promote as promote_by

        context, chosen = _open(data, name)
        record, is_made = promote_by(context, chosen, by, because)
        result = {"adapter": chosen.key, "file": f"content/lora/{chosen.file}", "promoted_now": is_made, **record.info}
        if as_json:
            print_json(result)
        else:
            word = "promoted" if is_made else "was promoted already"
            print_line(f"{chosen.key} {word}: {result['file']}")

    @adapter.command()
    def history(name: NameArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
        """Say which versions of an adapter were put into use, when, by whom and why, the latest first."""
        from sq_pipeline.pipeline.promotions.history import promotion_history

        context, chosen = _open(data, name)
        rows = promotion_history(context, chosen)
        if as_json:
            print_json({"adapter": chosen.key, "promotions": rows})
        elif rows:
            print_table(("version", "when", "by", "verdict", "file"), map(_row, rows))
        else:
            print_line(f"{chosen.key} was never promoted")

    @adapter.command()
    def rollback(
        name: NameArgument,
        by: Annotated[str, typer.Option("--by", help="Who says so.")],
        to: Annotated[
            str | None,
            typer.Option(
                "--to", metavar="VERSION", help="Its first digits; otherwise the version that was in use before."
            ),
        ] = None,
        because: Annotated[str | None, typer.Option("--because", help="Why; it is kept.", metavar="WHY")] = None,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        """Put an earlier version of an adapter back in use, in somebody's name, until a person promotes another."""
        from sq_pipeline.pipeline.adapters.promote import roll_back

        context, chosen = _open(data, name)
        now, before = roll_back(context, chosen, to, by, because)
        if as_json:
            replaced = None if before is None else before.adapter_version
            print_json({"adapter": chosen.key, **now.as_entry(), "replaced": replaced})
        else:
            instead = "" if before is None else f", in place of {before.describe()}"
            print_line(f"{chosen.key}: {now.describe()}{instead}. {command('run')} brings up to date what follows")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    marks = [entry["version"], *(["in use"] if entry["is_in_use"] else [])]
    who = entry["by"] if entry["act"] == "promotion" else f"{entry['by']} (put back)"
    verdict = f"{entry['verdict']}; because {entry['because']}" if entry["because"] else entry["verdict"]
    return ", ".join(marks), entry["at"] or "", who, verdict, entry["path"] or "gone"
