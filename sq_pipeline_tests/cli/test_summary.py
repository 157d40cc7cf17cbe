"""The end of a run is one screen, counts everything, and never says that there was nothing to do when there was."""

import re
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.cli.terminal.summary import HEIGHT, summarise
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.runs import RunReport, Seen
from sq_pipeline.pipeline.worlds.tally import Tally

WIDTH = 80
DATA = DataDir(Path("games/mine"))
WESTERN = "spaghetti_western/dust_and_iron"
REASON = "memory ran out; render fewer at a time, or make the picture smaller than it is"


def picture(genre: str, slug: str, tier: str = "landscape") -> dict[str, Any]:
    return {"genre": genre, "world": "w", "tier": tier, "path": f"content/genre_packs/{genre}/images/poi/{slug}.png"}


def rows(lines: list[str]) -> int:
    return sum(max(1, -(-len(line) // WIDTH)) for line in lines)


def of(tallies: list[Tally] | None = None, failures: list[tuple[str, str]] | None = None, **fields: Any) -> RunReport:
    failed = {asset.partition(":")[0] for asset, _ in failures or []}
    told = [{"asset": asset, "reason": "told of each"} for asset in sorted(failed)]
    return RunReport(seen=Seen(tallies or [], fields.pop("renewed", []), failures or []), failed=told, **fields)


def items(count: int, reason: str = "{}: is torn; look at it") -> list[dict[str, Any]]:
    return [{"asset": f"a/{n}", "reason": reason.format(n), "chain": []} for n in range(count)]


MANY = [Tally(f"g/w{n}", "landscape", {"rendered": 2, "fresh": 1}) for n in range(300)]
FAILED = [Tally(WESTERN, "landscape", {"rendered": 20, "not made": 7})]

# name: the report, and parts of what is said
CASES: dict[str, tuple[RunReport, list[str]]] = {
    "nothing to do": (of(skipped=9), ["nothing to do; 9 were fresh; 0.0 s"]),
    "only a world that is fresh": (of([Tally("g/w", "landscape", {"fresh": 3})], skipped=9), ["nothing to do; 9"]),
    "27 pictures of a world": (
        of([Tally(WESTERN, "landscape", {"rendered": 27})], rendered=[picture("g", str(n)) for n in range(27)]),
        ["27 rendered; 0 were fresh", "look at games/mine/content/genre_packs/g/images/poi"],
    ),
    "one picture": (
        of([Tally("g/w", "landscape", {"rendered": 1, "fresh": 2})], rendered=[picture("g", "mill")]),
        ["1 rendered; ", "look at games/mine/content/genre_packs/g/images/poi/mill.png"],
    ),
    "only put in place": (
        of([Tally("g/w", "landscape", {"put in place": 1, "fresh": 2})], skipped=4), ["1 put in place; 4 were fresh"]
    ),
    "only a gallery": (of(renewed=["g/worlds/w/gallery"]), ["1 asset brought up to date, nothing had to be made"]),
    "two tiers": (
        of([Tally("g/w", "landscape", {"rendered": 1}), Tally("g/w", "portrait", {"rendered": 4})],
           rendered=[picture("g", "mill")] * 5),
        ["g/w, landscape         1", "g/w, portrait          4"],
    ),
    "300 worlds": (of(MANY, rendered=[picture(f"g{n}", "a") for n in range(300)]),
                   ["and 292 more       584    292", "300 rendered", "and at 298 more folders"]),
    "a failed picture": (of(FAILED, [("g/w/poi_images:mill", REASON)]),
                         [f"failed: g/w/poi_images:mill: {REASON}"]),
    "seven failed alike": (of(FAILED, [(f"g/w/poi_images:p{n}", f"p{n}: {REASON}") for n in range(7)]),
                           ["nothing was made", f"failed: g/w/poi_images: p0, p1, p2 and 4 more: p0: {REASON}"]),
    "90 failed each in its own way": (
        of(FAILED, [(f"g/w/poi_images:p{n}", f"{n * 7}th fault") for n in range(90)]),
        ["more; `sq-pipeline ui` shows all"],
    ),
    "90 blocked": (of(blocked=items(90)), ["nothing was made", "a/0: 0: is torn", "`sq-pipeline plan` shows all"]),
    "all at once": (
        of(FAILED, [(f"g/w/poi_images:p{n}", f"{n * 7}th fault") for n in range(90)], blocked=items(90),
           waiting=items(90, "waits for a person: {}"), warnings=["odd"] * 90),
        ["`sq-pipeline ui` shows all", "and 270 more; `sq-pipeline plan` shows all"],
    ),
    "waiting alone": (of(waiting=items(1)), ["nothing was made; ", "waiting: a/0: 0: is torn"]),
    "a long name": (of([Tally("g" * 90 + "/world_at_the_end", "landscape", {"waiting": 1})], waiting=items(1)),
                    ["…ggg", "the_end"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_one_screen_and_says_all_that_counts(case: str) -> None:
    report, parts = CASES[case]
    lines = summarise(report, DATA, width=WIDTH)
    assert rows(lines) < HEIGHT, lines
    for part in parts:
        assert any(part in line for line in lines), (part, lines)
    assert ("nothing to do" in "".join(lines)) == (parts[0].startswith("nothing to do"))


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_swallowed(case: str) -> None:
    """What is told by itself and what is counted as more is everything."""
    report, _ = CASES[case]
    lines = summarise(report, DATA, width=WIDTH)
    wanted = len(report.seen.failures) + len(report.blocked) + len(report.waiting) + len(report.warnings)
    told = sum(line.startswith(("failed: ", "blocked: ", "waiting: ", "warning: ")) for line in lines)
    told += sum(int(found[1]) for line in lines for found in [re.match(r"and (\d+) more; ", line)] if found)
    told += sum(int(found[1]) + 2 for line in lines for found in [re.search(r", \w+ and (\d+) more: ", line)] if found)
    assert told == wanted


def test_a_single_long_reason_is_told_whole() -> None:
    reason = "x" * 3000
    assert any(reason in line for line in summarise(of(failures=[("a", reason)]), DATA, width=WIDTH))
