"""A run that a person stopped did not fail, and what it was for rests until it changes or a person asks again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from dagster import AssetKey, DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.dagster_run import DagsterRun

from sq_pipeline.defs.places import planned_places
from sq_pipeline.defs.sensors import unbegun
from sq_pipeline_tests.defs.ticks import MIDNIGHT, Ticks, assets, burn_the_mill, launch, run_of
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_dataset
from sq_pipeline_tests.pipeline.game import Game

OLD, LORAS = "west/worlds/old", "west/loras/west_land"
ASSETS = (f"{OLD}/poi_images", f"{OLD}/prompts")
PLACES = ("mill", "mine", "inn")
ALL = {"dagster/asset_partition_range_start": "mill", "dagster/asset_partition_range_end": "inn"}


@pytest.fixture
def ticks(done: Game) -> Ticks:
    found = Ticks(done)
    found.now = datetime.now(UTC) + timedelta(minutes=1)
    return found


def change_all(game: Game, word: str = "new") -> None:
    places = [poi(name, f"a {word} {name}") for name in ("Mill", "Mine", "Inn")]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


@pytest.fixture
def stops(ticks: Ticks) -> Iterator[type[BaseException]]:
    """The second picture is interrupted, as when a run is terminated."""
    error: list[type[BaseException]] = [DagsterExecutionInterruptedError]

    def stop(request: object) -> bool:
        if "Mine" in getattr(request, "positive_prompt", ""):
            raise error[0]
        return False

    ticks.game.engines.renderer.fails_when = stop
    yield DagsterExecutionInterruptedError
    ticks.game.engines.renderer.fails_when = lambda _request: False


def terminate(ticks: Ticks, tags: dict[str, str], *names: str) -> DagsterRun:
    """Launched and terminated after the first picture, as far as the run's own process goes."""
    result = launch(ticks, *names, tags=tags)
    run = run_of(ticks, result)
    ticks.game.instance.report_run_canceled(run)
    return run_of(ticks, result)


@pytest.mark.parametrize("by", ["a sensor", "hand", "a selection"])
def test_what_is_left_of_a_terminated_run_rests(ticks: Ticks, stops: type[BaseException], by: str) -> None:
    change_all(ticks.game)
    ((request,), _) = ticks.tick("content")
    assert assets(request) == list(ASSETS)
    tags = {"a sensor": dict(request.tags), "hand": ALL, "a selection": {**ALL, "dagster/backfill": "x"}}[by]
    assert terminate(ticks, tags, *ASSETS).status is DagsterRunStatus.CANCELED
    requests, told = ticks.tick("content")
    assert not requests
    assert told == f"{OLD}: cancelled by you: mine, inn; begun again after a change, or by your click"
    stale = [item["asset"] for item in ticks.game.plan()["stale"]]
    assert {f"{OLD}/poi_images:mine", f"{OLD}/poi_images:inn"} <= set(stale)


def test_a_day_later_it_still_rests(ticks: Ticks, stops: type[BaseException]) -> None:
    change_all(ticks.game)
    terminate(ticks, ALL, *ASSETS)
    ticks.now += timedelta(days=2)
    assert "cancelled by you" in ticks.tick("content")[1]


def test_ctrl_c_of_a_run_on_the_command_line(ticks: Ticks, stops: type[BaseException]) -> None:
    change_all(ticks.game)
    with pytest.raises(KeyboardInterrupt):
        ticks.game.run()
    (run,) = ticks.game.instance.get_runs(limit=1)
    assert run.status is DagsterRunStatus.CANCELED
    assert "cancelled by you: mine, inn" in ticks.tick("content")[1]


def test_a_training_that_was_stopped_is_not_begun_again_in_that_night(ticks: Ticks) -> None:
    write_dataset(ticks.game.data.datasets_root / "west/landscape", "west", 9)
    ticks.now = MIDNIGHT
    ((request,), _) = ticks.tick("night")
    ticks.game.engines.trainer.interrupt_at = 2
    run = terminate(ticks, dict(request.tags), *assets(request))
    assert run.status is DagsterRunStatus.CANCELED
    ticks.game.engines.trainer.interrupt_at = None
    requests, told = ticks.tick("night")
    assert not requests
    assert told == "west/loras/west_land: cancelled by you: mlx_adapter; begun again after a change, or by your click"
    write_dataset(ticks.game.data.datasets_root / "west/landscape", "west", 10)
    assert len(ticks.tick("night")[0]) == 1


def test_another_edit_is_made_and_the_rest_rests_on(ticks: Ticks, stops: type[BaseException]) -> None:
    change_all(ticks.game)
    terminate(ticks, ALL, *ASSETS)
    places = [poi("Mill", "a new Mill"), poi("Mine", "a new Mine"), poi("Inn", "another inn")]
    ticks.game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
    ((request,), _) = ticks.tick("content")
    assert request.tags["dagster/asset_partition_range_start"] == "inn"
    assert any("cancelled by you: mine;" in line for line in ticks.logged)
    assert launch(ticks, *assets(request), tags=request.tags).success
    assert "cancelled by you: mine;" in ticks.tick("content")[1]


def test_there_and_back_is_a_change(ticks: Ticks, stops: type[BaseException]) -> None:
    change_all(ticks.game)
    terminate(ticks, ALL, *ASSETS)
    ticks.game.engines.renderer.fails_when = lambda _request: False
    change_all(ticks.game, "other")
    ((request,), _) = ticks.tick("content")
    assert launch(ticks, *assets(request), tags=request.tags).success
    change_all(ticks.game)
    assert len(ticks.tick("content")[0]) == 1


def test_a_click_makes_it(ticks: Ticks, stops: type[BaseException]) -> None:
    change_all(ticks.game)
    terminate(ticks, ALL, *ASSETS)
    ticks.game.engines.renderer.fails_when = lambda _request: False
    assert launch(ticks, *ASSETS, tags=ALL).success
    requests, told = ticks.tick("content")
    assert not any(f"{OLD}/poi_images" in assets(request) for request in requests)
    assert "cancelled" not in told


def test_a_run_that_died_while_it_was_being_stopped_is_stopped(ticks: Ticks) -> None:
    burn_the_mill(ticks.game)
    ((request,), _) = ticks.tick("content")
    run = DagsterRun("__ASSET_JOB", asset_selection=frozenset(request.asset_selection or ()), tags=request.tags,
                     status=DagsterRunStatus.CANCELING)  # fmt: skip
    ticks.game.instance.add_run(run)
    ticks.now += timedelta(minutes=5)
    assert "its process is gone" in ticks.tick("content")[1]
    found = ticks.game.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is DagsterRunStatus.CANCELED
    assert "cancelled by you: mill" in ticks.tick("content")[1]


def test_cancelled_tries_are_no_failures(ticks: Ticks) -> None:
    """One failure, ten minutes; a run that a person stopped in between makes that neither longer nor shorter."""
    ticks.now = datetime.now(UTC)
    burn_the_mill(ticks.game)
    ((request,), _) = ticks.tick("content")
    ticks.pretend(request, DagsterRunStatus.FAILURE)
    assert "failed with these inputs" in ticks.tick("content")[1]
    ticks.pretend(request, DagsterRunStatus.CANCELED)
    assert "cancelled by you" in ticks.tick("content")[1]
    ticks.pretend(request, DagsterRunStatus.FAILURE)  # by a person's click
    told = ticks.tick("content")[1]
    assert "failed with these inputs" in told


def queue(ticks: Ticks, tags: dict[str, str], *names: str) -> DagsterRun:
    """Launched from the pages, and waiting for its turn: it has said nothing."""
    keys = frozenset(AssetKey(name.split("/")) for name in names)
    run = DagsterRun("__ASSET_JOB", asset_selection=keys, tags=tags, status=DagsterRunStatus.NOT_STARTED)
    ticks.game.instance.add_run(run)
    return run


def one(slug: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": slug, "dagster/asset_partition_range_end": slug}


@pytest.mark.parametrize(
    ("tags", "rests"),
    [
        (ALL, ["mill", "mine", "inn"]),
        (one("mine"), ["mine"]),
        ({"dagster/partition": "inn"}, ["inn"]),
        ({**one("mill"), "sq/places": "mill,inn"}, ["mill", "inn"]),
    ],
    ids=["a range", "one of a range", "one", "no neighbours"],
)
def test_a_run_that_was_cancelled_before_it_began_is_a_word_too(
    ticks: Ticks, tags: dict[str, str], rests: list[str]
) -> None:
    change_all(ticks.game)
    run = queue(ticks, tags, *ASSETS)
    ticks.game.instance.report_run_canceled(run)
    requests, told = ticks.tick("content")
    line = f"{OLD}: cancelled by you: {', '.join(rests)}; begun again after a change, or by your click"
    assert line in ([told] if len(rests) == 3 else ticks.logged)
    asked = {slug for request in requests for slug in planned_places(run.with_tags(request.tags), PLACES)}
    assert asked == {*PLACES} - {*rests}
    found = ticks.game.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert "positive_prompt" in found.tags["sq/reasons"]


def test_a_change_after_it_is_made_and_what_it_was_not_for_too(ticks: Ticks) -> None:
    change_all(ticks.game)
    ticks.game.instance.report_run_canceled(queue(ticks, one("mine"), *ASSETS))
    (request,) = ticks.tick("content")[0]
    assert launch(ticks, *assets(request), tags=request.tags).success
    assert not ticks.tick("content")[0]
    change_all(ticks.game, "other")
    (request,) = ticks.tick("content")[0]
    assert request.tags["dagster/asset_partition_range_start"] == "mill"
    assert request.tags["dagster/asset_partition_range_end"] == "inn"


def test_what_was_as_it_should_be_then_is_made_when_it_changes(ticks: Ticks) -> None:
    """The run was for the inn too, of which nothing was to make when it was cancelled."""
    burn_the_mill(ticks.game)
    ticks.game.instance.report_run_canceled(queue(ticks, ALL, *ASSETS))
    assert "cancelled by you: mill;" in ticks.tick("content")[1]
    places = [poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn", "a new inn")]
    ticks.game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
    (request,) = ticks.tick("content")[0]
    assert request.tags["dagster/asset_partition_range_start"] == "inn"


def test_a_training_that_waited_for_its_turn(ticks: Ticks) -> None:
    write_dataset(ticks.game.data.datasets_root / "west/landscape", "west", 9)
    ticks.now = MIDNIGHT
    run = queue(ticks, {}, f"{LORAS}/training_dataset", f"{LORAS}/mlx_adapter")
    ticks.game.instance.report_run_canceled(run)
    assert "cancelled by you" in ticks.tick("adapters")[1]
    requests, told = ticks.tick("night")
    assert not requests
    assert told.startswith(f"{LORAS}: cancelled by you: ")
    write_dataset(ticks.game.data.datasets_root / "west/landscape", "west", 10)
    assert len(ticks.tick("night")[0]) == 1


def test_a_run_that_still_waits_is_no_cancelled_one(ticks: Ticks) -> None:
    change_all(ticks.game)
    run = queue(ticks, ALL, *ASSETS)
    assert "is at it" in ticks.tick("content")[1]
    found = ticks.game.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert "sq/wants" not in found.tags


def test_it_is_said_once_for_each_run(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that was for nothing that is to make, too: no tick plans twice for what it has noted."""
    noted: list[str] = []
    note = unbegun.note_steps
    monkeypatch.setattr(unbegun, "note_steps", lambda *given: (noted.append(given[1]), note(*given)))
    run = queue(ticks, ALL, *ASSETS)
    ticks.game.instance.report_run_canceled(run)
    for sensor in ("content", "adapters", "content"):
        ticks.tick(sensor)
    assert noted == [run.run_id]
