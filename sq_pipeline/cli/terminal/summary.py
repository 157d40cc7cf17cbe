"""What a run says in the end: counts by world, what failed or waits and why, where to look. One screen, always.

Here: a report → lines. Not here: the report (`defs.runs`), its JSON, which keeps every entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from sq_pipeline.cli.causes import causes_of, tell_more
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.text import counted
from sq_pipeline.pipeline.worlds.tally import Outcome, Tally

if TYPE_CHECKING:
    from sq_pipeline.defs.runs import RunReport

HEIGHT = 24
_MOST_WORLDS, _MOST_FOLDERS, _MOST_NAMES = 8, 2, 3
_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_LISTS = ("trained", "remapped", "verified", "rendered")


@dataclass(frozen=True)
class _Entry:
    """A line of the lower part: `count` things are told in it; where there is no room, `elsewhere` shows them."""

    text: str
    count: int
    elsewhere: str


def summarise(report: "RunReport", data: DataDir, *, width: int, height: int = HEIGHT) -> list[str]:
    """Lines that take at most `height` rows of a terminal of `width` columns, unless a single reason takes more."""
    upper = [*_worlds(report.seen.tallies, width), _counts(report)]
    lower = _where(report, data)
    room = height - _rows([*upper, *lower], width) - 1  # the prompt follows
    return [*upper, *_fit(list(_entries(report)), room, width), *lower]


def _rows(lines: Iterable[str], width: int) -> int:
    return sum(max(1, -(-len(line) // width)) for line in lines)


def _worlds(tallies: Sequence[Tally], width: int) -> list[str]:
    """A row for each world that something happened to, those with something amiss first."""
    told = [tally for tally in tallies if set(tally.counts) - {"fresh"}]
    told.sort(key=lambda tally: (not tally.counts.get("not made"), not tally.counts.get("waiting")))
    shown: list[Outcome] = [name for name in _OUTCOMES if any(tally.counts.get(name) for tally in told)]
    if not told or not shown:
        return []
    tiers = len({tally.tier for tally in told}) > 1 or told[0].tier != "landscape"
    rows = [(_label(tally, is_with_tier=tiers), [tally.counts.get(name, 0) for name in shown]) for tally in told]
    if len(rows) > _MOST_WORLDS + 1:
        rows, rest = rows[:_MOST_WORLDS], rows[_MOST_WORLDS:]
        rows.append((f"and {len(rest)} more", list(map(sum, zip(*(counts for _, counts in rest), strict=True)))))
    wide = width - sum(len(name) + 2 for name in shown)
    first = max(8, min(wide, max(len(row[0]) for row in rows)))
    lines = ["  ".join((" " * first, *shown))]
    for name, counts in rows:
        cells = [f"{count or '-':>{len(head)}}" for count, head in zip(counts, shown, strict=True)]
        lines.append("  ".join((f"{_end_of(name, first):<{first}}", *cells)))
    return [*lines, ""]


def _label(tally: Tally, *, is_with_tier: bool) -> str:
    return f"{tally.world}, {tally.tier}" if is_with_tier else tally.world


def _end_of(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def _counts(report: "RunReport") -> str:
    counts = {name: len(getattr(report, name)) for name in _LISTS}
    counts["put in place"] = sum(tally.counts.get("put in place", 0) for tally in report.seen.tallies)
    done = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if not done and report.seen.renewed:
        done = f"{counted(len(report.seen.renewed), 'asset')} brought up to date, nothing had to be made"
    is_amiss = bool(report.failed or report.blocked or report.waiting)
    done = done or ("nothing was made" if is_amiss else "nothing to do")
    fresh = f"; {report.skipped} were fresh" if report.skipped or not (report.failed or report.blocked) else ""
    loads = f", base model loaded {report.model_loads}×" if report.model_loads else ""
    return f"{done}{fresh}{loads}; {report.wall_s} s"


def _entries(report: "RunReport") -> Iterable[_Entry]:
    ui, plan = command("ui"), command("plan")
    yield from _failed(report, ui)
    for kind, items in (("blocked", report.blocked), ("waiting", report.waiting)):
        for cause in causes_of(items):
            text = f"{kind}: {_told(cause.first[0])}{tell_more(cause.more)}"
            yield _Entry(text, 1 + cause.more, plan)
    for line in report.warnings:
        yield _Entry(f"warning: {line}", 1, plan)


def _failed(report: "RunReport", elsewhere: str) -> Iterable[_Entry]:
    """What failed, the same reason once. A step of pictures is told by its pictures."""
    told = report.seen.failures
    steps = {asset.partition(":")[0] for asset, _ in told}
    each = [pair for pair in told if any(item["asset"] == pair[0].partition(":")[0] for item in report.failed)]
    each += [(item["asset"], item["reason"]) for item in report.failed if item["asset"] not in steps]
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for asset, reason in each:
        name, _, slug = asset.partition(":")
        groups.setdefault((name if slug else asset, reason.replace(slug, "*") if slug else reason), []).append(
            (asset, reason)
        )
    for (name, _), group in groups.items():
        asset, reason = group[0]
        if len(group) > 1:
            slugs = [item.partition(":")[2] for item, _ in group]
            more = f" and {len(slugs) - _MOST_NAMES} more" if len(slugs) > _MOST_NAMES else ""
            text = f"failed: {name}: {', '.join(slugs[:_MOST_NAMES])}{more}: {reason}"
        else:
            text = f"failed: {_told({'asset': asset, 'reason': reason})}"
        yield _Entry(text, len(group), elsewhere)


def _told(item: dict[str, Any]) -> str:
    """What it is, and why; a fault names its file itself."""
    return item["reason"] if item["reason"].startswith(item["asset"]) else f"{item['asset']}: {item['reason']}"


def _fit(entries: Sequence[_Entry], room: int, width: int) -> list[str]:
    """Those that there is room for, the first in any case, and what the rest is and where it can be seen."""
    rest_rows = len({entry.elsewhere for entry in entries})
    shown: list[str] = []
    for number, entry in enumerate(entries):
        is_last = number == len(entries) - 1
        if shown and _rows([*shown, entry.text], width) + (0 if is_last else rest_rows) > room:
            rest = entries[number:]
            for elsewhere in dict.fromkeys(entry.elsewhere for entry in rest):
                count = sum(entry.count for entry in rest if entry.elsewhere == elsewhere)
                shown.append(f"and {count} more; {elsewhere} shows all")
            break
        shown.append(entry.text)
    return shown


def _near(path: Path) -> str:
    """As it is typed from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _where(report: "RunReport", data: DataDir) -> list[str]:
    """Where to look at what was rendered: the picture, if it is one, else their folders."""
    paths = [_near(data.root / item["path"]) for item in report.rendered]
    if len(paths) > 1:
        paths = list(dict.fromkeys(str(Path(path).parent) for path in paths))
    more = len(paths) - _MOST_FOLDERS
    told = [f"look at {path}" for path in paths[:_MOST_FOLDERS]]
    if more > 0:
        told.append(f"and at {more} more folders; {command('ui')} shows all")
    return told
