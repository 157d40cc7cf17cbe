"""Measured figures of the gallery: `python -m sq_pipeline_tests.benchmarks.gallery [DIR]`, 40 worlds of 130 places.

A game of 5,200 pictures is made (some minutes; in DIR, where one is given, and kept there), shown by the real command
and looked at in Debian's Chromium: when the first pictures are painted, how much was sent by then, how much memory
the tab takes after all worlds were scrolled over, how long a picture that a run publishes takes to be shown.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from playwright.sync_api import Page, expect

from sq_pipeline.cli.printing import print_line, print_table, say
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import machine
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline_tests.benchmarks.large_game import bring_up, quick_engines, write_large_game
from sq_pipeline_tests.gallery.browser import open_browser

_WORLDS, _PLACES = 40, 130
_COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))
_TRIES = 5
_WAIT_MS = 120_000


@contextmanager
def _gallery(data: DataDir) -> Iterator[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [_COMMAND, "gallery", "--data", str(data.root), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[4]
    finally:
        process.terminate()
        process.wait()


def _wait_until_known(page: Page) -> None:
    """Until every world was looked at."""
    page.wait_for_function(
        "async () => { const told = await (await fetch('api/overview')).json();"
        " return told.groups.length && told.groups.every(group => group.is_known) && !told.is_looking }",
        timeout=_WAIT_MS, polling=500,
    )  # fmt: skip


def _first_paint(page: Page, address: str) -> tuple[float, int]:
    """Seconds from asking for the page to all pictures of the window being painted; bytes that were sent by then."""
    sent = 0
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def count(event: dict[str, Any]) -> None:
        nonlocal sent
        sent += event["encodedDataLength"]

    session.on("Network.loadingFinished", count)
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.tile img')]"
        ".filter(image => image.getBoundingClientRect().top < innerHeight);"
        " return all.length > 3 && all.every(image => image.complete && image.naturalWidth) }",
        timeout=_WAIT_MS, polling="raf",
    )  # fmt: skip
    painted_s = time.perf_counter() - start
    page.wait_for_timeout(3000)  # what is still loaded before anybody scrolls counts too
    session.detach()
    return painted_s, sent


def _scroll_over_all(page: Page) -> int:
    """To the end, a window at a time; how many pictures were there in all."""
    at, height = 0, 1
    while at < height:
        at += 700
        page.evaluate(f"window.scrollTo(0, {at})")
        page.wait_for_timeout(60)
        height = page.evaluate("document.documentElement.scrollHeight")
    return page.evaluate("window.Gallery.tiles.order().length")


def _tab_bytes() -> int:
    """Memory of the largest renderer of a browser on this machine, without what it shares with others (Linux)."""
    largest = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in process.joinpath("cmdline").read_bytes():
                rows = process.joinpath("smaps_rollup").read_text().splitlines()
                largest = max(largest, sum(int(row.split()[1]) << 10 for row in rows if row.startswith("Private_")))
        except OSError:
            continue  # it has ended
    return largest


def _delay(page: Page, data: DataDir) -> float:
    """Seconds from a picture being published to its being shown: the tile's picture is another file."""
    context = Context(data, quick_engines(data), looks_ahead=False)
    world = context.catalog.worlds["genre0/world0"]
    slug = world.pois[0].slug
    tile = page.locator(f'.tile[href$="/{slug}"] img').first
    before = tile.get_attribute("src")
    for part in ("prompts", "images"):
        list(make_world_asset(context, world, "landscape", part, {slug}))
    start = time.perf_counter()
    expect(tile).not_to_have_attribute("src", str(before), timeout=_WAIT_MS)
    return time.perf_counter() - start


def _edit(data: DataDir, at: int) -> None:
    file = data.world_root("genre0", "world0") / "history.yaml"
    told = yaml.safe_load(file.read_text())
    told["chapters"][0]["points_of_interest"][0]["seed"] = at + 1
    file.write_text(yaml.dump(told, sort_keys=False))


def measure(data: DataDir) -> list[tuple[str, str, str]]:
    """The rows of the table."""
    with _gallery(data) as address, open_browser() as browser:
        first = browser.new_page(viewport={"width": 1280, "height": 800})
        first.goto(address)
        _wait_until_known(first)
        first.close()
        paints = list[tuple[float, int]]()
        for _ in range(_TRIES):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            paints.append(_first_paint(page, address))
            page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        _first_paint(page, address)
        seen = _scroll_over_all(page)
        tab = _tab_bytes()
        page.evaluate("window.scrollTo(0, 0)")
        delays = list[float]()
        for at in range(_TRIES):
            _edit(data, at)
            page.locator(".tile.state-stale").first.wait_for(timeout=_WAIT_MS)
            delays.append(_delay(page, data))
            page.locator(".tile.state-stale").first.wait_for(state="detached", timeout=_WAIT_MS)
    assert seen == _WORLDS * _PLACES
    return [
        ("first paint with pictures", f"{median(s for s, _ in paints):.2f} s", "≤ 1 s"),
        ("sent before scrolling", f"{max(sent for _, sent in paints) / 1e6:.2f} MB", "≤ 3 MB"),
        ("memory of the tab, after scrolling over all", f"{tab / 2**20:.0f} MiB", "≤ 300 MiB"),
        ("a published picture is shown after", f"{median(delays):.1f} s (at most {max(delays):.1f})", "≤ 2 s"),
    ]


def main() -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        data = DataDir((Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "game").resolve())
        if not data.content_root.is_dir():
            say(f"making a game of {_WORLDS * _PLACES} pictures …")
            data.content_root.mkdir(parents=True)
            write_large_game(data, _WORLDS, _PLACES)
            bring_up(data, quick_engines(data))
        rows = measure(data)
    print_line(f"{machine.chip_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print_table((f"{_WORLDS * _PLACES} pictures in {_WORLDS} worlds", "measured", "limit"), rows)


if __name__ == "__main__":
    main()
