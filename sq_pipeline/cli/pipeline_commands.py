"""`demo`, `plan` and `run`: bringing pictures up to date, and saying what that would take."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sq_pipeline.cli.causes import causes_of, tell_more
from sq_pipeline.cli.options import DataOption, JsonOption, QuietOption, TierOption, WorldOption
from sq_pipeline.cli.parents import end_with_parent
from sq_pipeline.cli.pictures.choice_commands import ReplaceOption, archive_theirs
from sq_pipeline.cli.printing import print_json, print_line, print_table, say, warn
from sq_pipeline.cli.terminal.stderr import shown_progress
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir, data_root, open_data_dir
from sq_pipeline.common.text import counted, gist

_MOST_NAMES = 6


def plan_rows(items: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """What, and why, from the entries of `Plan.as_json()`. Places are put together where the same thing changed."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in items:
        name, _, slug = item["asset"].partition(":")
        key = (name, item["status"], *map(gist, item["reasons"])) if slug else (item["asset"],)
        groups.setdefault(key, []).append(item)
    return [(_names(group), "\n".join(_reasons(group))) for group in groups.values()]


def blocked_rows(items: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """As `plan_rows`, of what cannot be made: each cause is one row, which counts what else waits for it."""
    rows: list[tuple[str, str]] = []
    for cause in causes_of(items):
        name = _name(cause.first[0])
        group = [item for item in cause.first if _name(item) == name]
        more = tell_more(cause.more + 1 - len(group))
        rows.append((f"{_names(group)}{more}", "\n".join(group[0]["reasons"])))
    return rows


def _reasons(group: Sequence[dict[str, Any]]) -> list[str]:
    reasons: list[str] = group[0]["reasons"]
    is_one_for_all = all(item["reasons"] == reasons for item in group)
    return reasons if is_one_for_all else list(map(gist, reasons))


def _name(item: dict[str, Any]) -> str:
    """Its asset, without the place."""
    return item["asset"].partition(":")[0]


def _names(group: Sequence[dict[str, Any]]) -> str:
    if len(group) == 1:
        return group[0]["asset"]
    name = _name(group[0])
    slugs = [item["asset"].partition(":")[2] for item in group]
    more = len(slugs) - _MOST_NAMES
    return f"{name}: {', '.join(slugs[:_MOST_NAMES])} {f'… and {more} more' if more > 0 else f'({len(slugs)})'}"


def locked_row(entry: dict[str, Any]) -> tuple[str, str]:
    """A picture that somebody keeps, and why it would be made again otherwise."""
    word = "adopted" if entry["act"] == "adopt" else "locked"
    who = f"{word} by {entry['by']}{f' because {why}' if (why := entry['why']) else ''}"
    return entry["asset"], "\nwould be made again because ".join([who, *filter(None, ["; ".join(entry["reasons"])])])


def _run(root: Path, world: str | None, tier: str | None, *, as_json: bool) -> None:
    """Bring a data directory up to date through Dagster, and say what was done; exits with 1 where something failed."""
    from sq_pipeline.cli.terminal.summary import summarise
    from sq_pipeline.defs.instance import open_instance
    from sq_pipeline.defs.runs import bring_up_to_date

    end_with_parent()
    data = open_data_dir(root)
    with shown_progress(), open_instance(data, say) as instance:
        report = bring_up_to_date(data, instance, world, say, tier=tier, warn=warn)
    if as_json:
        print_json(report.as_json())
    else:
        for line in summarise(report, data, width=shutil.get_terminal_size().columns):
            print_line(line)
    if report.failed or report.blocked:
        raise typer.Exit(1)


def _open_demo(folder: Path) -> DataDir:
    """The data directory at `folder`, with what is shipped and the demo's datasets, where they are not there yet."""
    from sq_pipeline.common.shipped import copy_shipped_data
    from sq_pipeline.painter.datasets import draw_demo_datasets

    if not (folder / "content").is_dir():
        copy_shipped_data(folder)
    data = open_data_dir(folder)
    if drawn := draw_demo_datasets(data.datasets_root):
        say(f"drew {drawn} training datasets")
    return data


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""

    @app.command()
    def demo(
        folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Work in a copy there.")] = None,
        as_json: JsonOption = False,
        is_run: Annotated[
            bool, typer.Option("--run/--no-run", help="Bring it up to date, or only make the data directory.")
        ] = True,
        _quiet: QuietOption = False,
    ) -> None:
        """Train three adapters on drawn pictures, prove them, and render the places of three worlds."""
        data = _open_demo(folder or data_root(None))
        if is_run:
            _run(data.root, None, None, as_json=as_json)
        elif as_json:
            print_json({"data": str(data.root)})
        else:
            print_line(f"made {data.root}; {command('plan', '--data', data.root)} says what is to do")

    @app.command()
    def run(
        world: WorldOption = None,
        tier: TierOption = None,
        replace: ReplaceOption = None,
        data: DataOption = None,
        _quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        """Bring a world, or everything, up to date: exactly what changed is made again."""
        if replace:
            archive_theirs(open_data_dir(data_root(data)), replace, tier)
        _run(data_root(data), world, tier, as_json=as_json)

    @app.command()
    def plan(
        world: WorldOption = None, tier: TierOption = None, data: DataOption = None, as_json: JsonOption = False
    ) -> None:
        """Say what is stale, and why; makes nothing and loads no model. Exits with 1 where something is at fault."""
        from sq_pipeline.pipeline.context import Context
        from sq_pipeline.pipeline.plan import make_plan
        from sq_pipeline.wiring import real_engines

        directory = open_data_dir(data_root(data))
        context = Context(directory, real_engines(directory))
        result = make_plan(context, world, tier).as_json()
        for line in context.describe_state():
            say(line)
        _show_plan(result, as_json=as_json)
        if result["faults"] or any(item["status"] == "blocked" for item in result["blocked"]):
            raise typer.Exit(1)


_JUDGEMENTS = {
    "choice_pictures": "choosing checkpoints",
    "verification_pictures": "verifications",
    "stack_pictures": "looking at stacks",
}


def _judged_pictures(result: dict[str, Any]) -> str:
    """How many pictures are rendered to judge, before any of a world's; empty for none."""
    told = [f"{what} {result[key]}" for key, what in _JUDGEMENTS.items() if result[key]]
    return f"pictures to judge by, at most: {', '.join(told)}" if told else ""


def _show_plan(result: dict[str, Any], *, as_json: bool) -> None:
    """What makes the exit code 1 goes to stderr too, whatever stdout is read by: faults, and each cause once."""
    if as_json:
        print_json(result)
    else:
        print_table(("stale", "why"), plan_rows(result["stale"]))
        print_table(("cannot be made", "why"), blocked_rows(result["blocked"]))
        print_table(("locked", ""), map(locked_row, result["locked"]))
        for kind in ("faults", "warnings"):
            for line in result[kind]:
                print_line(f"{kind[:-1]}: {line}")
        if told := _judged_pictures(result):
            print_line(f"{told}, and the base model's own where they lack")
        drafts = f", {counted(len(result['drafts']), 'draft')}" if result["drafts"] else ""
        print_line(f"{len(result['stale'])} stale, {result['fresh']} fresh{drafts}")
    for line in result["faults"]:
        say(f"fault: {line}")
    for cause in causes_of(item for item in result["blocked"] if item["status"] == "blocked"):
        first = cause.first[0]
        told = [reason for reason in first["reasons"] if reason not in result["faults"]]
        for number, reason in enumerate(told):
            more = tell_more(cause.more) if number == 0 else ""
            say(f"blocked: {first['asset']}: {reason}{more}")
