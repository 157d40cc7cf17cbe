"""Measured figures of a large game: `python -m sq_pipeline_tests.benchmarks.scale [WORLDS PLACES]`, 200 and 200.

Each figure is the best of three processes of its own, since machines are noisy; a tenth of the game is measured too,
for the growth. Making the games takes some minutes and a gigabyte of temporary space.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

from sq_pipeline.cli.printing import print_line, print_table, say
from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.defs.partitions import sync_partitions
from sq_pipeline.engines import machine
from sq_pipeline_tests.benchmarks.large_game import bring_up, quick_engines, write_large_game
from sq_pipeline_tests.pages import Pages, free_port, wait

_COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))
_TRIES = 3

_LOAD = """
import time, dagster
start = time.perf_counter()
import sq_pipeline.definitions
sq_pipeline.definitions.defs.get_repository_def()
print(time.perf_counter() - start)
"""

_TICK = """
import time
from dagster import build_sensor_context
from sq_pipeline.definitions import defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.common.layout import DataDir, data_root
with open_instance(DataDir(data_root(None))) as instance:
    sensor = defs.resolve_sensor_def("content")
    for _ in range(2):
        start = time.perf_counter()
        told = sensor.evaluate_tick(build_sensor_context(instance=instance, repository_def=defs.get_repository_def()))
        spent = time.perf_counter() - start
    assert bool(told.run_requests) == (not told.skip_message), told
    print(spent)
"""

# what the page of all assets asks for, and how each asset of it stands
_PAGE = """{ assetNodes { id assetKey { path } groupName opNames isPartitioned isMaterializable hasAssetChecks
  dependencyKeys { path } dependedByKeys { path } partitionStats { numMaterialized numPartitions numFailed }
  assetMaterializations(limit: 1) { timestamp runId } freshnessPolicy { __typename } } }"""


def _run_once(data: DataDir, *command: str) -> tuple[float, int, str]:
    """Wall time in seconds, peak memory in bytes, and what was printed."""
    environment = {**os.environ, "SQ_DATA": str(data.root), "DAGSTER_HOME": str(data.dagster_home)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout is not None
    out = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)[:60]} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * unit, out


def _measure(data: DataDir, *command: str) -> tuple[float, int, str]:
    """The best time of three processes, the greatest memory, and what was printed last."""
    tries = [_run_once(data, *command) for _ in range(_TRIES)]
    return min(wall_s for wall_s, _, _ in tries), max(peak for _, peak, _ in tries), tries[-1][2]


def _measure_inside(data: DataDir, code: str) -> tuple[float, int]:
    """The same for code that times itself and prints it: without the start of Python and the import of Dagster."""
    tries = [_run_once(data, sys.executable, "-c", code) for _ in range(_TRIES)]
    return min(float(out) for _, _, out in tries), max(peak for _, peak, _ in tries)


@contextlib.contextmanager
def _edited(data: DataDir) -> Iterator[None]:
    """One prompt of one world says something else meanwhile."""
    file = data.world_root("genre0", "world0") / "history.yaml"
    said = file.read_text()
    told = yaml.safe_load(said)
    told["chapters"][0]["points_of_interest"][0]["visual_prompt"] = "a burnt mill by the river"
    file.write_text(yaml.dump(told, sort_keys=False))
    try:
        yield
    finally:
        file.write_text(said)


def _measure_page(data: DataDir) -> float:
    """The best of three answers of a real web server; the first one, which loads, is not counted."""
    port = free_port()
    pages = Pages(f"http://127.0.0.1:{port}")
    environment = {**os.environ, "SQ_DATA": str(data.root), "DAGSTER_HOME": str(data.dagster_home)}
    command = [sys.executable, "-m", "dagster_webserver", "-m", "sq_pipeline.definitions", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(pages.is_ready, 180, "the web server")
        times: list[float] = []
        for _ in range(_TRIES + 1):
            start = time.perf_counter()
            body = json.dumps({"query": _PAGE}).encode()
            request = urllib.request.Request(f"{pages.url}/graphql", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                told = json.loads(answer.read())
            assert "errors" not in told, told
            times.append(time.perf_counter() - start)
        return min(times[1:])
    finally:
        process.terminate()
        process.wait()


def measure_game(worlds: int, places: int, root: Path) -> list[float]:
    """Every figure of one game, in the order of the table's rows."""
    data = DataDir(root.resolve())
    if not data.content_root.is_dir():
        say(f"making a game of {worlds * places} places …")
        data.content_root.mkdir(parents=True)
        write_large_game(data, worlds, places)
        bring_up(data, quick_engines(data))
    with open_instance(data) as instance:
        sync_partitions(read_catalog(data), instance)
    say("measuring …")
    load_s, load_peak = _measure_inside(data, _LOAD)
    _measure(data, _COMMAND, "plan", "--json")  # what was just written is not remembered at once
    nothing_s, nothing_peak, out = _measure(data, _COMMAND, "plan", "--json")
    assert json.loads(out)["stale"] == [], "the game is not up to date"
    tick_s, tick_peak = _measure_inside(data, _TICK)
    with _edited(data):
        time.sleep(2.5)  # as above
        edit_s, edit_peak, out = _measure(data, _COMMAND, "plan", "--json")
        assert len(json.loads(out)["stale"]) == 3
    page_s = _measure_page(data)
    peak = max(load_peak, nothing_peak, tick_peak, edit_peak)
    return [load_s, nothing_s, edit_s, tick_s, page_s, peak / 2**20]


def main() -> None:
    """Measure and print the table."""
    worlds, places = (int(text) for text in (sys.argv[1:3] or ("200", "200")))
    with tempfile.TemporaryDirectory() as folder:
        # a third argument keeps the games for another measurement
        root = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(folder)
        small = measure_game(max(1, worlds // 20), places, root / "small")
        large = measure_game(worlds, places, root / "large")
    names = ["definitions load", "plan, nothing stale", "plan, one prompt edited", "sensor tick", "asset graph query"]
    limits = ["≤ 2 s", "≤ 2.5 s", "≤ 3 s", "≤ 2 s", "≤ 5 s"]
    rows = [(n, f"{a:.2f} s", f"{b:.2f} s", limit) for n, a, b, limit in zip(names, small, large, limits, strict=False)]
    rows.append(("peak memory", f"{small[-1]:.0f} MiB", f"{large[-1]:.0f} MiB", "≤ 1 GiB"))
    print_line(f"{machine.chip_name()}, {os.cpu_count()} cores")
    print_table(("measured", f"{max(1, worlds // 20) * places} places", f"{worlds * places} places", "limit"), rows)


if __name__ == "__main__":
    main()
