"""Places that a person selects in the pages, and runs that they stop: by the real daemon and web server."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.defs.steered import MARK, steer, work_done
from sq_pipeline_tests.defs.test_daemon import Automat
from sq_pipeline_tests.pages import wait
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import poi

pytestmark = [pytest.mark.long, pytest.mark.takes(s=100)]

OLD = "west/worlds/old"
ASSETS = (f"{OLD}/prompts", f"{OLD}/poi_images")
_PATIENCE_S = 200


@pytest.fixture(scope="module")
def automat(finished: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Automat]:
    """The processes over a game that is up to date, with the sensors off."""
    data = DataDir(Path(tmp_path_factory.mktemp("selection")) / "data")
    shutil.copytree(finished.root, data.root, symlinks=True)
    with ExitStack() as stack:
        found = Automat(data, stack)
        for sensor in ("content", "adapters", "night"):
            found.pages.set_sensor(sensor, is_on=False)
        yield found


def change_all(automat: Automat, word: str) -> None:
    automat.places("old", *(poi(name, f"{MARK} a {word} {name}") for name in ("Mill", "Mine", "Inn")))


def test_two_that_are_no_neighbours_are_one_run_with_one_load(automat: Automat) -> None:
    change_all(automat, "new")
    known = len(work_done(automat.data))
    selected = automat.pages.select(["mill", "inn"], *ASSETS)
    wait(lambda: automat.pages.selection(selected).startswith("COMPLETED"), _PATIENCE_S, "the selection")
    assert automat.pages.selection(selected) == "COMPLETED_SUCCESS"
    runs = [run for run in automat.pages.runs() if run["tags"].get("dagster/backfill") == selected]
    assert len(runs) == 1, runs
    (run,) = runs
    assert run["status"] == "SUCCESS"
    tags = {name: run["tags"][f"sq/{name}"] for name in ("places", "rendered", "model_loads")}
    assert tags == {"places": "mill,inn", "rendered": "2", "model_loads": "1"}
    assert len(work_done(automat.data)) - known == 2
    stale = {item["asset"] for item in automat.plan()["stale"]}
    assert {asset for asset in stale if asset.startswith(f"{OLD}/poi_images")} == {f"{OLD}/poi_images:mine"}


def test_a_selection_that_is_cancelled_rests(automat: Automat) -> None:
    """After its first picture; the sensor, switched on, says so and begins nothing."""
    change_all(automat, "stopped")
    known = len(work_done(automat.data))
    steer(automat.data, hangs_after=known + 1)
    selected = automat.pages.select(["mill", "inn"], *ASSETS)
    wait(lambda: len(work_done(automat.data)) > known, _PATIENCE_S, "the first picture")
    automat.pages.cancel_selection(selected)
    wait(lambda: automat.pages.selection(selected) == "CANCELED", _PATIENCE_S, "the cancelling")
    steer(automat.data)
    (run,) = [run for run in automat.pages.runs() if run["tags"].get("dagster/backfill") == selected]
    assert run["status"] == "CANCELED"
    automat.pages.set_sensor("content", is_on=True)
    wait(lambda: [tick for tick in automat.pages.ticks("content", 5) if tick["runIds"]], _PATIENCE_S, "a run for mine")
    wait(lambda: not any(run["status"] in ("QUEUED", "STARTING", "STARTED") for run in automat.pages.runs(5)),
         _PATIENCE_S, "the run for mine")  # fmt: skip
    told = wait(lambda: automat.pages.ticks("content")[0]["skipReason"], _PATIENCE_S, "a tick")
    assert f"{OLD}: cancelled by you: inn; begun again after a change, or by your click" in told
    assert len(work_done(automat.data)) - known == 2  # mill, and mine, which nobody had stopped
    automat.pages.set_sensor("content", is_on=False)
