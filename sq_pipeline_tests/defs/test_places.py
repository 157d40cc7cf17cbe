"""Partitions that are no neighbours: one run, one load of the model, and no other partition looks touched."""

import pytest
from dagster import AssetKey, DagsterEventType, DagsterRunStatus, EventRecordsFilter
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import DagsterRun

from sq_pipeline.defs.places import PLACES_TAG, range_tags
from sq_pipeline_tests.defs.ticks import Ticks, launch, run_of
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import chapter, poi
from sq_pipeline_tests.pipeline.game import Game

OLD = "west/worlds/old"
ASSETS = (f"{OLD}/poi_images", f"{OLD}/prompts")
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin(host="nowhere", port=1), "__repository__"), "__ASSET_JOB"
)


@pytest.fixture
def ticks(done: Game) -> Ticks:
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(poi("Mill", "a new mill"), poi("Mine", "a new mine"),
                                                               poi("Inn", "a new inn"))]})  # fmt: skip
    return Ticks(done)


def queued(ticks: Ticks, first: str, last: str, selected: str, assets: tuple[str, ...] = ASSETS) -> DagsterRun:
    """A run as the daemon makes it for one stretch of a person's selection."""
    run = DagsterRun(
        "__ASSET_JOB",
        asset_selection=frozenset(AssetKey(name.split("/")) for name in assets),
        tags={START: first, END: last, "dagster/backfill": selected},
        status=DagsterRunStatus.QUEUED,
        remote_job_origin=_ORIGIN,
    )
    return ticks.game.instance.add_run(run)


def planned(ticks: Ticks, run_id: str) -> set[str]:
    key = AssetKey([*OLD.split("/"), "poi_images"])
    kind = EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=key)
    found: set[str] = set()
    for record in ticks.game.instance.get_event_records(kind):
        event = record.event_log_entry.dagster_event
        if record.event_log_entry.run_id == run_id and event is not None:
            data = event.asset_materialization_planned_data
            found |= {data.partition} if data.partition else set(data.partitions_subset.get_partition_keys())  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize(
    ("ordered", "wanted", "tags"),
    [
        ("abcd", "", None),
        ("abcd", "abcd", ("a", "d", None)),
        ("abcd", "b", ("b", "b", None)),
        ("abcd", "bc", ("b", "c", None)),
        ("abcd", "ac", ("a", "a", "a,c")),
        ("abcd", "abd", ("a", "b", "a,b,d")),
        ("abcd", "dxb", ("b", "b", "b,d")),
    ],
)
def test_the_first_stretch_is_planned_and_all_are_named(
    ordered: str, wanted: str, tags: tuple[str, str, str | None] | None
) -> None:
    told = range_tags(list(ordered), set(wanted))
    assert ((told[START], told[END], told.get(PLACES_TAG)) if told else None) == tags


def test_what_a_person_selected_is_one_run(ticks: Ticks) -> None:
    other = queued(ticks, "inn", "inn", "chosen")
    tags = {START: "mill", END: "mill", "dagster/backfill": "chosen"}
    before = ticks.game.engines.renderer.model_loads
    result = launch(ticks, *ASSETS, tags=tags)
    run = run_of(ticks, result)
    assert result.success
    assert ticks.game.instance.get_run_by_id(other.run_id) is None
    assert (run.tags["sq/rendered"], run.tags["sq/model_loads"], run.tags[PLACES_TAG]) == ("2", "1", "mill,inn")
    assert ticks.game.engines.renderer.model_loads == before + 1
    assert planned(ticks, run.run_id) == {"mill", "inn"}
    stale = [item["asset"] for item in ticks.game.plan()["stale"]]
    assert [asset for asset in stale if asset.endswith((":mill", ":inn"))] == []
    assert f"{OLD}/poi_images:mine" in stale  # which nobody selected


@pytest.mark.parametrize(
    ("selected", "assets", "status"),
    [
        ("another", ASSETS, DagsterRunStatus.QUEUED),
        ("chosen", ("west/worlds/paper/poi_images",), DagsterRunStatus.QUEUED),
        ("chosen", ASSETS[:1], DagsterRunStatus.QUEUED),
        ("chosen", ASSETS, DagsterRunStatus.STARTED),
        ("chosen", ASSETS, DagsterRunStatus.SUCCESS),
    ],
)
def test_other_runs_are_left_alone(
    ticks: Ticks, selected: str, assets: tuple[str, ...], status: DagsterRunStatus
) -> None:
    other = queued(ticks, "inn", "inn", selected, assets)
    if status is not DagsterRunStatus.QUEUED:
        ticks.game.instance.delete_run(other.run_id)
        ticks.game.instance.add_run(other.with_status(status))
    result = launch(ticks, *ASSETS, tags={START: "mill", END: "mill", "dagster/backfill": "chosen"})
    assert result.success
    assert ticks.game.instance.get_run_by_id(other.run_id) is not None
    assert PLACES_TAG not in run_of(ticks, result).tags


def test_a_place_that_was_taken_over_and_fails_is_shown_as_failed(ticks: Ticks) -> None:
    queued(ticks, "inn", "inn", "chosen")
    ticks.game.engines.renderer.fails_when = lambda request: "a new inn" in request.positive_prompt
    result = launch(ticks, *ASSETS, tags={START: "mill", END: "mill", "dagster/backfill": "chosen"})
    assert not result.success
    assert planned(ticks, result.run_id) == {"mill", "inn"}
    made = {event.partition for event in result.all_events if event.is_step_materialization}
    assert made == {"mill", "inn"}  # its prompt was made
