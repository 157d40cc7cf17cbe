"""What commands print with. A person's texts are shown as they are: rich would read `[red]` in a prompt as markup.

JSON is one object on stdout; tables and lines for people go to stdout too; progress goes to stderr, by `say`.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from sq_pipeline.common.processes.progress import say

__all__ = ["print_json", "print_judgement", "print_line", "print_markdown", "print_table", "say", "warn"]

_COMMAND = re.compile(r"`(sq-pipeline [^`]+)`")


def print_json(value: Any) -> None:
    """One JSON object, on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table whose cells wrap and lose nothing; without rows, nothing. A command that had to be wrapped comes whole
    below it, since nobody can paste it out of a cell.
    """
    # imported here: rich takes longer to import than most commands that print JSON take to run
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(name, overflow="fold") for name in columns), show_header=any(columns))
    ways: dict[str, None] = {}
    for row in rows:
        table.add_row(*map(Text, row))
        ways |= dict.fromkeys(way for cell in row for way in _COMMAND.findall(cell))
    if table.row_count:
        console = Console()
        with console.capture() as shown:
            console.print(table)
        sys.stdout.write(shown.get())
        for way in ways:
            if way not in shown.get():
                print_line(f"  {way}")


def print_markdown(text: str) -> None:
    """A report, laid out."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def print_judgement(report: Mapping[str, Any], markdown: str, *, as_json: bool) -> None:
    """A report that something passed or failed; raises typer.Exit(1) when it failed."""
    if as_json:
        print_json(report)
    else:
        print_markdown(markdown)
    if not report["has_passed"]:
        raise typer.Exit(1)


def print_line(line: str) -> None:
    """One line, not wrapped."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(line), soft_wrap=True)


def warn(line: str) -> None:
    """One line on stderr that nobody may miss, even one who asked for quiet."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
