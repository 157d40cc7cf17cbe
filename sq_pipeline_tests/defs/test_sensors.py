"""The sensors' decisions, tick by tick, with a clock of the test's own. The processes are in `test_daemon`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus, RunRequest
from dagster._core.storage.dagster_run import DagsterRun

from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.defs.run_tags import LINE_TAG, WANTS_TAG
from sq_pipeline_tests.defs.ticks import MIDNIGHT, Ticks, assets, burn_the_mill
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import chapter, lora, poi, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game


@pytest.fixture
def ticks(done: Game) -> Ticks:
    return Ticks(done)


def test_nothing_to_do(ticks: Ticks) -> None:
    for sensor, told in (
        ("content", "everything is as it should be"),
        ("adapters", "everything is as it should be"),
        ("night", "nothing is to be trained"),
    ):
        assert ticks.tick(sensor) == ([], told)


def test_each_sensor_is_told_of_on_its_page(ticks: Ticks) -> None:
    page = (Path(__file__).parents[2] / "docs/automation.md").read_text(encoding="utf-8")
    names = [sensor.name for sensor in ticks.defs.sensors or ()]
    assert [name for name in names if f"* **{name}**" not in page] == []


def test_one_run_a_world(ticks: Ticks) -> None:
    ticks.game.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    requests, _ = ticks.tick("content")
    assert [request.tags[LINE_TAG] for request in requests] == ["west/worlds/old", "west/worlds/paper"]
    assert assets(requests[0]) == ["west/worlds/old/poi_images", "west/worlds/old/prompts"]
    tags = {key: value for key, value in requests[0].tags.items() if key.startswith("dagster/asset_partition")}
    assert tags == {"dagster/asset_partition_range_start": "mill", "dagster/asset_partition_range_end": "inn"}


def test_not_while_a_run_is_at_it(ticks: Ticks) -> None:
    burn_the_mill(ticks.game)
    ((request,), _) = ticks.tick("content")
    run = ticks.pretend(request, DagsterRunStatus.NOT_STARTED)
    assert ticks.tick("content") == ([], f"west/worlds/old: run {run.run_id[:8]} is at it")


def test_a_persons_run_counts_too(ticks: Ticks) -> None:
    burn_the_mill(ticks.game)
    ((request,), _) = ticks.tick("content")
    ticks.pretend(RunRequest(asset_selection=request.asset_selection), DagsterRunStatus.NOT_STARTED)
    requests, told = ticks.tick("content")
    assert not requests
    assert "is at it" in told


def test_what_failed_is_tried_again_later_and_ever_later(ticks: Ticks) -> None:
    burn_the_mill(ticks.game)
    ticks.now = datetime.now(UTC)
    for wait in (10, 20, 40):
        ((request,), _) = ticks.tick("content")
        ticks.pretend(request, DagsterRunStatus.FAILURE)
        ticks.now = datetime.now(UTC) + timedelta(minutes=wait - 1)
        requests, told = ticks.tick("content")
        assert not requests
        assert "west/worlds/old: failed with these inputs; next try at" in told
        ticks.now += timedelta(minutes=2)


def test_another_edit_is_tried_at_once_and_going_back_as_well(ticks: Ticks) -> None:
    """A → B → A: what counts is the latest try, not whether the same was ever asked for."""
    ticks.now = datetime.now(UTC)
    burn_the_mill(ticks.game)
    ((first,), _) = ticks.tick("content")
    ticks.pretend(first, DagsterRunStatus.FAILURE)
    burn_the_mill(ticks.game, "a new mill")
    ((second,), _) = ticks.tick("content")
    assert second.tags[WANTS_TAG] != first.tags[WANTS_TAG]
    ticks.pretend(second, DagsterRunStatus.FAILURE)
    burn_the_mill(ticks.game)
    ((third,), _) = ticks.tick("content")
    assert third.tags[WANTS_TAG] == first.tags[WANTS_TAG]


def test_what_is_left_of_a_failed_run_waits_too(ticks: Ticks) -> None:
    """Its other places were made, so less is wanted than it was asked for."""
    ticks.now = datetime.now(UTC)
    ticks.game.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    requests, _ = ticks.tick("content")
    ticks.game.engines.renderer.fails_when = lambda request: "Mine" in request.positive_prompt
    ticks.game.run("west/old")
    ticks.pretend(requests[0], DagsterRunStatus.FAILURE)
    left, _ = ticks.tick("content")
    assert [request.tags[LINE_TAG] for request in left] == ["west/worlds/paper"]


def test_a_run_whose_process_is_gone_is_known_by_the_lock(ticks: Ticks) -> None:
    """A run that looks busy: left alone while somebody holds the lock or it is young, otherwise marked as failed."""
    burn_the_mill(ticks.game)
    ((request,), _) = ticks.tick("content")
    run = DagsterRun("__ASSET_JOB", asset_selection=frozenset(request.asset_selection or ()), tags=request.tags,
                     status=DagsterRunStatus.STARTED)  # fmt: skip
    ticks.game.instance.add_run(run)

    def status() -> DagsterRunStatus:
        found = ticks.game.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    ticks.now = datetime.now(UTC)
    assert "is at it" in ticks.tick("content")[1]
    assert status() is DagsterRunStatus.STARTED
    ticks.now += timedelta(minutes=5)
    with hold_run_lock(ticks.game.data, print):
        assert "is at it" in ticks.tick("content")[1]
        assert status() is DagsterRunStatus.STARTED
    assert f"run {run.run_id[:8]}: its process is gone" in ticks.tick("content")[1]
    assert status() is DagsterRunStatus.FAILURE


def test_an_adapter_goes_through_in_one_run_up_to_the_promotion(ticks: Ticks) -> None:
    settings = {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0, "ssim_changed_max": 0.99}}
    write_yaml(ticks.game.data.settings_file, settings)
    requests, _ = ticks.tick("adapters")
    assert [assets(request) for request in requests] == [
        [f"west/loras/{name}/{step}" for step in ("promoted_adapter", "verification")]
        for name in ("west_land", "paper_land")
    ]
    assert ticks.tick("content")[0] == []


def test_a_promotion_that_is_a_persons_is_left_to_one(ticks: Ticks) -> None:
    settings = {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0, "ssim_changed_max": 0.99}}
    write_yaml(ticks.game.data.settings_file, settings)
    requests, _ = ticks.tick("adapters")
    assert [assets(request) for request in requests] == [
        ["west/loras/west_land/verification"],
        ["west/loras/paper_land/verification"],
    ]


def test_by_day_a_changed_dataset_is_checked_but_not_trained(ticks: Ticks) -> None:
    write_dataset(ticks.game.data.datasets_root / "west/landscape", "west", 9)
    requests, _ = ticks.tick("adapters")
    assert [assets(request) for request in requests] == [["west/loras/west_land/training_dataset"]]
    requests, told = ticks.tick("night")
    assert not requests
    assert told == "to be trained from 22:00 on, or by your click: west/west_land"
    burn_the_mill(ticks.game)
    assert [request.tags[LINE_TAG] for request in ticks.tick("content")[0]] == ["west/worlds/old"]


def change_both(game: Game) -> None:
    write_dataset(game.data.datasets_root / "west/landscape", "west", 9)
    write_dataset(game.data.datasets_root / "west/worlds/paper/landscape", "west_paper", 9)


def test_by_night_one_training_at_a_time(ticks: Ticks) -> None:
    change_both(ticks.game)
    ticks.now = MIDNIGHT
    ((request,), _) = ticks.tick("night")
    assert assets(request) == [
        f"west/loras/west_land/{step}"
        for step in (
            "chosen_checkpoint",
            "mflux_adapter",
            "mlx_adapter",
            "promoted_adapter",
            "training_dataset",
            "verification",
        )
    ]
    ticks.pretend(request, DagsterRunStatus.NOT_STARTED)
    assert ticks.tick("night") == ([], "west/loras/west_land/mlx_adapter is being trained; one at a time")


def test_a_training_that_failed_leaves_the_night_to_the_next(ticks: Ticks) -> None:
    change_both(ticks.game)
    ticks.now = datetime.now(UTC)
    hours = {"start": (ticks.now.astimezone() - timedelta(hours=1)).strftime("%H:%M"),
             "end": (ticks.now.astimezone() + timedelta(hours=4)).strftime("%H:%M")}  # fmt: skip
    settings = {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0}, "night_window": hours}
    write_yaml(ticks.game.data.settings_file, settings)
    ((first,), _) = ticks.tick("night")
    ticks.pretend(first, DagsterRunStatus.FAILURE)
    ((second,), _) = ticks.tick("night")
    assert [request.tags[LINE_TAG] for request in (first, second)] == ["west/loras/west_land", "west/loras/paper_land"]


@pytest.mark.parametrize(("iterations", "is_started"), [(3, True), (9000, True), (11000, False), (40000, False)])
def test_what_cannot_be_done_before_the_window_ends_is_not_started(
    ticks: Ticks, iterations: int, is_started: bool
) -> None:
    """The fake's last training took two seconds an iteration; six hours are left, a tenth of them to spare."""
    folder = ticks.game.data.datasets_root / "west/landscape"
    recipe = {"trigger": "west", "min_pairs": 3, "iterations": iterations, "rank": 1, "seed": 2}
    write_yaml(folder / "lora.yaml", recipe)
    ticks.now = MIDNIGHT + timedelta(minutes=1)
    requests, told = ticks.tick("night")
    assert bool(requests) == is_started
    if not is_started:
        assert told == f"west/west_land: would take {iterations * 2 / 3600:.1f} h by its last time, " \
                       "and the window ends in 6.0 h"  # fmt: skip


def test_the_window_is_the_data_directorys_own(ticks: Ticks) -> None:
    change_both(ticks.game)
    settings: dict[str, Any] = {"promotion": "automatic", "night_window": {"start": "11:30", "end": "13:00"}}
    write_yaml(ticks.game.data.settings_file, {**settings, "thresholds": {"ssim_trigger_max": 1.0}})
    assert len(ticks.tick("night")[0]) == 1
    ticks.now = MIDNIGHT
    assert "to be trained from 11:30 on" in ticks.tick("night")[1]


def test_what_the_definitions_do_not_show_yet_is_told(ticks: Ticks) -> None:
    ticks.game.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west"),
                                                    lora("new", "west/new", applies_to=["portrait"])]})  # fmt: skip
    write_dataset(ticks.game.data.datasets_root / "west/new", "new", 4)
    write_yaml(ticks.game.data.world_root("west", "fresh") / "history.yaml", {"chapters": [chapter(poi("Well"))]})
    requests, told = ticks.tick("content")
    assert not requests
    assert "world west/fresh is new or changed: press “Reload definitions”" in told
    assert "adapter west/new is new or changed: press “Reload definitions”" in told
    assert ticks.tick("night") == ([], "nothing is to be trained")
    after = Ticks(ticks.game)
    after.now = MIDNIGHT
    assert [request.tags[LINE_TAG] for request in after.tick("night")[0]] == ["west/loras/new"]


def test_a_broken_world_is_told_and_hinders_no_other(ticks: Ticks) -> None:
    (ticks.game.data.world_root("west", "paper") / "history.yaml").write_text("chapters: {}\n")
    burn_the_mill(ticks.game)
    requests, _ = ticks.tick("content")
    assert [request.tags[LINE_TAG] for request in requests] == ["west/worlds/old"]
    ticks.game.run("west/old")
    requests, told = ticks.tick("content")
    assert not requests
    assert "chapters: is a mapping, not a list" in told
    published = ticks.game.data.genre_root("west") / "images/poi"
    assert {path.stem for path in published.glob("*.png")} == {"mill", "mine", "inn", "gate", "dock"}


def test_a_restart_and_missed_ticks_lose_nothing(ticks: Ticks) -> None:
    """No cursor: what is asked for depends on the files and the store only."""
    burn_the_mill(ticks.game)
    ((before,), _) = ticks.tick("content")
    ((after,), _) = Ticks(ticks.game).tick("content")
    assert before == after
