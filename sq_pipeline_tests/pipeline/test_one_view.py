"""One run sees one state of the files, whatever changes under it; and one run at a time works on a data directory."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.defs.instance import SETTINGS, prepare_home
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_runs import is_quiet, rendered


def test_a_branch_switch_in_mid_run_changes_nothing_of_it(done: Game) -> None:
    """Everything is rewritten when the first picture is rendered: the run goes on with what it was planned with."""
    prompts: list[str] = []
    done.edit("visual_style.yaml", {"positive_suffix": "before"})

    def switch(request: object) -> bool:
        asked = done.engines.renderer.requests[-1].positive_prompt
        prompts.append(asked)
        if len(prompts) == 1:
            done.edit("visual_style.yaml", {"positive_suffix": "after", "base_seed": 99})
            write_yaml(done.data.world_root("west", "paper") / "history.yaml", {"chapters": [chapter(poi("Gate"))]})
        return False

    done.engines.renderer.fails_when = switch
    report = done.run()
    assert rendered(report) == {"old/mill", "old/mine", "old/inn", "paper/gate", "paper/dock"}
    assert len(prompts) == 5
    assert all(prompt.endswith(", before") for prompt in prompts)
    stale = {item["asset"] for item in done.plan()["stale"] if ":" in item["asset"] and "poi_images" in item["asset"]}
    assert stale == {f"west/worlds/{name}" for name in ("old/poi_images:mill", "old/poi_images:mine",
                                                        "old/poi_images:inn", "paper/poi_images:gate")}  # fmt: skip
    assert rendered(done.run()) == {"old/mill", "old/mine", "old/inn", "paper/gate"}
    assert all(prompt.endswith(", after") for prompt in prompts[5:])
    assert is_quiet(done.run())


def test_a_dataset_that_changes_while_it_is_read_is_never_taken_for_another(done: Game) -> None:
    """The first iteration follows the reading: a picture replaced before it would be in the adapter, or not."""
    folder = done.data.datasets_root / "west/landscape"
    write_dataset(folder, "west", 5)
    layout_for, trainer = done.engines.trainer.layout_for, done.engines.trainer
    from sq_pipeline.pipeline.adapters import training_dataset

    checked = training_dataset.check_dataset

    def check_and_switch(*arguments: object) -> object:
        dataset = checked(*arguments)  # type: ignore[arg-type]
        if len(trainer.requests) == 0 and "index" not in switched:
            switched.append("index")
        elif len(switched) == 1:
            switched.append("training")
            write_dataset(folder, "west", 6)
        return dataset

    switched: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_dataset, "check_dataset", check_and_switch)
        report = done.run()
    assert switched == ["index", "training"]
    assert [item["asset"] for item in report.failed] == ["west/loras/west_land/mlx_adapter"]
    assert "changed while it was being read" in report.failed[0]["reason"]
    assert report.trained == []
    assert layout_for is not None
    assert done.run().trained == ["west/loras/west_land/mlx_adapter"]
    assert is_quiet(done.run())


def test_a_place_that_fails_once_is_tried_again_after_the_others(done: Game) -> None:
    done.edit("visual_style.yaml", {"positive_suffix": "other"})
    asked: list[str] = []

    def fail_once(_request: object) -> bool:
        asked.append(done.engines.renderer.requests[-1].positive_prompt.split(", ")[1])
        return asked.count("a view of Mine") == 1 and asked[-1] == "a view of Mine"

    done.engines.renderer.fails_when = fail_once
    report = done.run("west/old")
    assert asked == ["a view of Mill", "a view of Mine", "a view of Inn", "a view of Mine"]
    assert rendered(report) == {"old/mill", "old/mine", "old/inn"}
    assert report.failed == []


def test_an_engines_own_error_hinders_no_neighbour_either(done: Game) -> None:
    done.edit("visual_style.yaml", {"positive_suffix": "other"})

    def fall_over(_request: object) -> bool:
        if "a view of Mine" in done.engines.renderer.requests[-1].positive_prompt:
            raise MemoryError("[metal::malloc] too much\nand more")
        return False

    done.engines.renderer.fails_when = fall_over
    report = done.run("west/old")
    assert rendered(report) == {"old/mill", "old/inn"}
    (failed,) = report.failed
    assert failed["reason"] == "1 picture failed: mine: MemoryError: [metal::malloc] too much"


_HOLD = """
import sys, time
from pathlib import Path
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
with hold_run_lock(DataDir(Path(sys.argv[1])), print):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _holder(data: DataDir, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(data.root), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_waits_for_another_and_says_whom_it_waits_for(done: Game) -> None:
    holder = _holder(done.data, 2)
    start = time.monotonic()
    assert is_quiet(done.run())
    assert time.monotonic() - start > 0.5
    (line,) = [line for line in done.said if "waiting" in line]
    assert line.startswith(f"process {holder.pid} (-c \\nimport sys, time")
    assert ", since " in line
    assert line.endswith("is running on this data directory; waiting for it to end")
    assert holder.wait() == 0


def test_a_killed_run_keeps_nobody_waiting(done: Game) -> None:
    holder = _holder(done.data, 600)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert is_quiet(done.run())
    assert not [line for line in done.said if "waiting" in line]


def test_the_lock_can_be_looked_for_again_by_who_holds_it(data: DataDir) -> None:
    said: list[str] = []
    with hold_run_lock(data, said.append), hold_run_lock(data, said.append):
        pass
    _holder(data, 0).wait()
    assert said == []


@pytest.mark.long
def test_two_runs_at_once_make_everything_once(data: DataDir, shipped: DataDir) -> None:
    """Two processes on a game of which nothing is made: one does it all, the other finds it done."""
    from sq_pipeline_tests.defs.steered import work_done
    from sq_pipeline_tests.pipeline.fast import write_game

    write_game(data)
    command = [sys.executable, "-m", "sq_pipeline_tests.defs.steered", str(data.root)]
    runs = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    last = sorted(run.communicate(timeout=240)[0].splitlines()[-1] for run in runs)
    assert [run.returncode for run in runs] == [0, 0]
    assert last == ["0 0", "5 2"]
    assert len(work_done(data)) == 7
    assert not list(Path(data.root).rglob("*.part*"))


def test_the_instances_settings_are_written_once_and_never_over_a_persons_own(data: DataDir) -> None:
    settings = prepare_home(data) / "dagster.yaml"
    assert settings.read_text() == SETTINGS
    settings.write_text("telemetry:\n  enabled: false\n")
    assert prepare_home(data) == data.dagster_home
    assert yaml.safe_load(settings.read_text()) == {"telemetry": {"enabled": False}}
    shutil.rmtree(data.dagster_home)
