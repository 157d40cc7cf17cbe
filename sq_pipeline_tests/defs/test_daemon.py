"""By itself: real `dagster-daemon` and `dagster-webserver` processes over a small game with fast, steered engines.

One story in order, since starting the processes takes longer than all of it: each test finds the game up to date and
leaves it so. What was made is known from the engines' own log, from Dagster, and from the files.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance, prepare_home
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.defs.steered import MARK, hanging_process, steer, steered_engines, work_done
from sq_pipeline_tests.pages import START_S, Pages, free_port, is_listening, wait
from sq_pipeline_tests.pipeline.fast import chapter, lora, poi, write_dataset, write_game, write_yaml

pytestmark = [pytest.mark.long, pytest.mark.takes(s=200)]

_SETTLE_S = 150
_MODULE = "sq_pipeline_tests.defs.steered_definitions"
OLD, PAPER = "west/worlds/old", "west/worlds/paper"


class Automat:
    """The running processes over a game."""

    def __init__(self, data: DataDir, stack: ExitStack) -> None:
        self.data = data
        port, self._code_port = free_port(), free_port()
        self.pages = Pages(f"http://127.0.0.1:{port}")
        self.environment = {**os.environ, "SQ_DATA": str(data.root), "DAGSTER_HOME": str(data.dagster_home)}
        self._log = stack.enter_context((data.root.parent / "processes.log").open("w"))
        self._stack = stack
        self.code, self.daemon = self.start_code(), self.start_daemon()
        self._start("dagster_webserver", *self._of_code, "-h", "127.0.0.1", "-p", str(port))
        wait(self.pages.is_ready, START_S, "the web server")

    @property
    def _of_code(self) -> tuple[str, ...]:
        return ("--grpc-host", "127.0.0.1", "--grpc-port", str(self._code_port))

    def start_code(self) -> "subprocess.Popen[Any]":
        """One code server for daemon and pages, as `dagster dev` has it; runs are its children.

        A daemon with one of its own renews it each minute, and may so know a new world before anybody reloads.
        """
        port = self._code_port
        process = self._start("dagster", "code-server", "start", "-m", _MODULE, "-h", "127.0.0.1", "-p", str(port))
        wait(lambda: is_listening(port), START_S, "the code server")
        return process

    def start_daemon(self) -> "subprocess.Popen[Any]":
        return self._start("dagster._daemon", "run", *self._of_code)

    def _start(self, module: str, *arguments: str) -> "subprocess.Popen[Any]":
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], env=self.environment, stdout=self._log, stderr=self._log,
            start_new_session=True,
        )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def edit(self, file: str, change: dict[str, Any]) -> None:
        path = self.data.genre_root("west") / file
        write_yaml(path, {**(yaml.safe_load(path.read_text()) if path.is_file() else {}), **change})

    def places(self, world: str, *pois: dict[str, Any]) -> None:
        self.edit(f"worlds/{world}/history.yaml", {"chapters": [chapter(*pois)]})

    def plan(self) -> dict[str, Any]:
        return make_plan(Context(self.data, steered_engines(self.data)), None).as_json()

    def is_quiet(self) -> bool:
        """Nothing to make, nothing running, and a later tick saw it so."""
        if self.plan()["stale"] or not all(run["status"] in ("SUCCESS", "FAILURE") for run in self.pages.runs(5)):
            return False
        since = time.time()
        wait(lambda: any(tick["timestamp"] > since and tick["status"] == "SKIPPED"
                         for tick in self.pages.ticks("content", 3)), _SETTLE_S, "a tick")  # fmt: skip
        return not self.plan()["stale"]

    def settle(self) -> None:
        wait(self.is_quiet, _SETTLE_S, "bringing the game up to date")

    def published(self) -> dict[str, bytes]:
        folder = self.data.genre_root("west") / "images/poi"
        return {path.stem: path.read_bytes() for path in folder.glob("*.png")}


def _end(process: "subprocess.Popen[Any]") -> None:
    """Its children too: runs outlive a killed code server for a while."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        process.wait()


@pytest.fixture(scope="module")
def automat(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> Iterator[Automat]:
    data = link_shipped(tmp_path_factory.mktemp("automat") / "data", shipped)
    # some of it is edited: own copies
    for name in ("keymaps", "verify_prompts"):
        (data.root / name).unlink()
        shutil.copytree(shipped.root / name, data.root / name)
    write_game(data)
    hours = _hours_not_now()
    settings = yaml.safe_load(data.settings_file.read_text())
    write_yaml(data.settings_file, {**settings, "night_window": hours})
    home = prepare_home(data)
    own = yaml.safe_load((home / "dagster.yaml").read_text())
    own["run_monitoring"]["poll_interval_seconds"] = 2
    own["run_coordinator"] = {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1},
    }
    write_yaml(home / "dagster.yaml", own)
    with open_instance(data):
        pass  # as `ui` does: Dagster's tables are there before three processes ask for them at once
    with ExitStack() as stack:
        yield Automat(data, stack)


def _hours_not_now() -> dict[str, str]:
    now = datetime.now().astimezone()
    return {
        "start": (now + timedelta(hours=10)).strftime("%H:%M"),
        "end": (now + timedelta(hours=14)).strftime("%H:%M"),
    }


def _hours_around_now() -> dict[str, str]:
    now = datetime.now().astimezone()
    return {"start": (now - timedelta(hours=2)).strftime("%H:%M"), "end": (now + timedelta(hours=2)).strftime("%H:%M")}


class Watch:
    """What happened between its making and a look."""

    def __init__(self, automat: Automat) -> None:
        self._automat = automat
        self._work = len(work_done(automat.data))
        self._runs = {run["id"] for run in automat.pages.runs()}

    def pictures(self) -> list[str]:
        """Prompts of pictures, sorted, without what all have in common."""
        done = [what for _, what in work_done(self._automat.data)[self._work :] if what.startswith("picture")]
        return sorted(what.partition(MARK)[2].partition(",")[0].strip() or what for what in done)

    def trainings(self) -> list[str]:
        return [what for _, what in work_done(self._automat.data)[self._work :] if what.startswith("training")]

    def runs(self, asset: str) -> list[dict[str, Any]]:
        return [r for r in self._automat.pages.runs() if r["id"] not in self._runs and asset in r["assets"]]


def test_training_waits_for_its_hours_and_says_so(automat: Automat) -> None:
    """Nothing is trained yet, and it is day: the night's tick tells, and no picture can be made."""
    told = wait(lambda: next((t["skipReason"] for t in automat.pages.ticks("night", 3) if t["skipReason"]), None),
                _SETTLE_S, "a tick of the night")  # fmt: skip
    assert "to be trained from" in told
    assert "west/west_land" in told
    assert not work_done(automat.data)


def test_in_its_hours_all_is_trained_and_every_picture_made(automat: Automat) -> None:
    settings = yaml.safe_load(automat.data.settings_file.read_text())
    write_yaml(automat.data.settings_file, {**settings, "night_window": _hours_around_now()})
    watch = Watch(automat)
    automat.settle()
    assert sorted(watch.trainings()) == ["training west", "training west_paper"]
    assert watch.pictures() == ["Dock", "Gate", "Inn", "Mill", "Mine"]
    assert [run["status"] for run in watch.runs("west/loras/west_land/mlx_adapter")] == ["SUCCESS"]
    keys, stats = automat.pages.partitions(f"{OLD}/poi_images")
    assert (keys, stats) == (["mill", "mine", "inn"], {"numMaterialized": 3, "numFailed": 0, "numPartitions": 3})
    write_yaml(automat.data.settings_file, {**settings, "night_window": _hours_not_now()})


def test_an_edited_prompt(automat: Automat) -> None:
    watch = Watch(automat)
    automat.places("old", poi("Mill", f"{MARK} a burnt mill"), poi("Mine"), poi("Inn"))
    automat.settle()
    assert watch.pictures() == ["a burnt mill"]
    (run,) = watch.runs(f"{OLD}/poi_images")
    assert run["tags"]["sq/rendered"] == "1"
    made = [event for event in automat.pages.materializations(f"{OLD}/poi_images") if event["run"] == run["id"]]
    assert made == [{"run": run["id"], "partition": "mill", "made_now": True}]


def test_two_scattered_prompts_are_one_run_with_one_load(automat: Automat) -> None:
    watch = Watch(automat)
    automat.places("old", poi("Mill", f"{MARK} a new mill"), poi("Mine"), poi("Inn", f"{MARK} a full inn"))
    automat.settle()
    assert watch.pictures() == ["a full inn", "a new mill"]
    (run,) = watch.runs(f"{OLD}/poi_images")
    assert (run["tags"]["sq/model_loads"], run["tags"]["sq/places"]) == ("1", "mill,inn")
    assert automat.pages.partitions(f"{OLD}/poi_images")[1]["numFailed"] == 0


def test_undone_nothing_is_rendered_and_the_pictures_are_as_before(automat: Automat) -> None:
    before = automat.published()
    automat.edit("worlds/paper/visual_style.yaml", {"positive_suffix": "very wide"})
    automat.settle()
    assert automat.published() != before
    watch = Watch(automat)
    automat.edit("worlds/paper/visual_style.yaml", {"positive_suffix": "wide"})
    automat.settle()
    assert watch.pictures() == []
    assert automat.published() == before
    assert watch.runs(f"{PAPER}/poi_images")


def test_comments_and_prose_start_nothing(automat: Automat) -> None:
    watch = Watch(automat)
    style = automat.data.genre_root("west") / "visual_style.yaml"
    style.write_text(f"# a comment\n{style.read_text()}")
    keymap = automat.data.keymaps_root / "mlx-to-mflux.yaml"
    keymap.write_text(f"# a comment\n{keymap.read_text()}")
    path = automat.data.world_root("west", "paper") / "history.yaml"
    told = yaml.safe_load(path.read_text())
    told["chapters"][0]["narrative_log"] = "other prose"
    write_yaml(path, told)
    automat.settle()
    assert not [run for run in automat.pages.runs() if run["id"] not in watch._runs]


def test_places_come_and_go(automat: Automat) -> None:
    """One added, one removed, one renamed: partitions follow, and pictures of places that are gone are archived."""
    watch, before = Watch(automat), automat.published()
    automat.places("paper", poi("Quay", f"{MARK} Dock"), poi("Lighthouse"))
    automat.settle()
    assert watch.pictures() == ["Dock", "Lighthouse"]  # a name is part of the seed: renamed is made again
    assert sorted(automat.pages.partitions(f"{PAPER}/poi_images")[0]) == ["lighthouse", "quay"]
    assert not {"gate", "dock"} & automat.published().keys()
    archive = automat.data.genre_root("west") / "images/archive"
    assert {path.stem: path.read_bytes() for path in archive.iterdir()} == {k: before[k] for k in ("gate", "dock")}


def test_a_scale_makes_exactly_its_worlds_again(automat: Automat) -> None:
    watch = Watch(automat)
    automat.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]})
    automat.settle()
    assert watch.pictures() == ["Mine", "a full inn", "a new mill"]
    assert not watch.runs(f"{PAPER}/poi_images")


def test_a_keymap_is_carried_through(automat: Automat) -> None:
    """A real change of a rule: remapped, verified, promoted, and every picture made again; nothing is trained."""
    watch = Watch(automat)
    keymap = automat.data.keymaps_root / "mlx-to-mflux.yaml"
    said = keymap.read_text()
    assert "lora_unet_" in said
    keymap.write_text(said.replace("lora_unet_", "base_model.model."))
    automat.settle()
    assert len(watch.pictures()) == 5
    assert watch.trainings() == []
    steps = [f"west/loras/west_land/{step}" for step in ("mflux_adapter", "promoted_adapter", "verification")]
    (run,) = watch.runs("west/loras/west_land/mflux_adapter")
    assert run["assets"] == steps


def test_a_threshold_that_changes_no_verdict_makes_no_picture(automat: Automat) -> None:
    watch = Watch(automat)
    settings = yaml.safe_load(automat.data.settings_file.read_text())
    settings["thresholds"]["ssim_changed_max"] = 0.998
    write_yaml(automat.data.settings_file, settings)
    automat.settle()
    assert watch.runs("west/loras/west_land/verification")
    assert watch.pictures() == []


def test_a_dataset_waits_for_the_night_while_prompts_go_on(automat: Automat) -> None:
    watch = Watch(automat)
    write_dataset(automat.data.datasets_root / "west/landscape", "west", 9)
    automat.places("old", poi("Mill", f"{MARK} a mill by day"), poi("Mine"), poi("Inn", f"{MARK} a full inn"))
    wait(lambda: watch.pictures() == ["a mill by day"], _SETTLE_S, "the picture")
    assert watch.trainings() == []
    settings = yaml.safe_load(automat.data.settings_file.read_text())
    write_yaml(automat.data.settings_file, {**settings, "night_window": _hours_around_now()})
    automat.settle()
    write_yaml(automat.data.settings_file, {**settings, "night_window": _hours_not_now()})
    assert watch.trainings() == ["training west"]
    assert watch.pictures() == ["Mine", "a full inn", "a mill by day", "a mill by day"]


def test_a_new_world_asks_for_a_reload_and_then_is_made(automat: Automat) -> None:
    watch = Watch(automat)
    automat.places("fresh", poi("Well"), poi("Ford"))
    told = wait(lambda: next((t["skipReason"] for t in automat.pages.ticks("content", 2)
                              if "west/fresh" in (t["skipReason"] or "")), None), _SETTLE_S, "a word")  # fmt: skip
    assert "world west/fresh is new or changed: press “Reload definitions”" in told
    assert watch.pictures() == []
    automat.pages.reload()
    automat.settle()
    assert watch.pictures() == ["Ford", "Well"]


def test_a_place_that_fails_hinders_no_neighbour_and_is_not_tried_for_ever(automat: Automat) -> None:
    watch = Watch(automat)
    steer(automat.data, fails="a cursed well")
    automat.places("fresh", poi("Well", f"{MARK} a cursed well"), poi("Ford", f"{MARK} a deep ford"))
    wait(lambda: any(run["status"] == "FAILURE" for run in watch.runs("west/worlds/fresh/poi_images")), _SETTLE_S)
    assert watch.pictures() == ["a deep ford"]
    assert automat.pages.partitions("west/worlds/fresh/poi_images")[1]["numFailed"] == 1
    wait(lambda: "failed with these inputs; next try at" in (automat.pages.ticks("content")[0]["skipReason"] or ""),
         _SETTLE_S, "the reason")  # fmt: skip
    assert len(watch.runs("west/worlds/fresh/poi_images")) == 1
    steer(automat.data)
    automat.places("fresh", poi("Well", f"{MARK} a blessed well"), poi("Ford", f"{MARK} a deep ford"))
    automat.settle()
    assert watch.pictures() == ["a blessed well", "a deep ford"]
    assert automat.pages.partitions("west/worlds/fresh/poi_images")[1]["numFailed"] == 0


def test_a_killed_run_goes_on_where_it_was(automat: Automat) -> None:
    """kill -9 of the run's process in mid-render: the daemon starts it again, and what was finished stays."""
    watch = Watch(automat)
    steer(automat.data, hangs_after=len(work_done(automat.data)) + 1)
    automat.edit("worlds/old/visual_style.yaml", {"poi_style": "oil painting"})
    os.kill(wait(lambda: hanging_process(automat.data), _SETTLE_S, "the second picture"), signal.SIGKILL)
    steer(automat.data)
    automat.settle()
    pictures = watch.pictures()
    assert sorted(set(pictures)) == ["Mine", "a full inn", "a mill by day"]
    assert len(pictures) == len(set(pictures))
    assert any("dagster/retry_number" in run["tags"] for run in automat.pages.runs(20))


def test_a_killed_daemon_loses_nothing_and_does_nothing_twice(automat: Automat) -> None:
    """kill -9 of the daemon with its code server and its run, as a power cut would."""
    watch = Watch(automat)
    steer(automat.data, hangs_after=len(work_done(automat.data)) + 1)
    automat.edit("worlds/old/visual_style.yaml", {"poi_style": "ink drawing"})
    wait(lambda: hanging_process(automat.data), _SETTLE_S, "the second picture")
    for process in (automat.daemon, automat.code):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    steer(automat.data)
    automat.code, automat.daemon = automat.start_code(), automat.start_daemon()
    automat.settle()
    pictures = watch.pictures()
    assert len(pictures) == len(set(pictures)) == 3


def test_the_command_line_waits_for_the_daemons_run(automat: Automat) -> None:
    """`run` beside a run of the daemon: it says whom it waits for, and then finds what is left to do."""
    watch, known = Watch(automat), len(work_done(automat.data))
    steer(automat.data, delay_s=8)  # long enough for another process to start meanwhile
    automat.edit("worlds/old/visual_style.yaml", {"poi_style": "etching"})
    wait(lambda: len(work_done(automat.data)) > known, _SETTLE_S, "the first picture")
    command = [sys.executable, "-m", "sq_pipeline_tests.defs.steered", str(automat.data.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.readline()
    steer(automat.data)
    assert "is running on this data directory; waiting for it to end" in told
    process.communicate(timeout=_SETTLE_S)
    assert process.returncode == 0
    automat.settle()
    pictures = watch.pictures()
    assert len(pictures) == len(set(pictures)) == 3


def test_no_half_written_file_is_left(automat: Automat) -> None:
    assert not list(Path(automat.data.root).rglob("*.part*"))
