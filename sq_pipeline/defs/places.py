"""Which partitions a run is for: also such as are no neighbours, in one run, with the model loaded once.

Dagster's runs are of one partition or of a range. So a run is planned as the first stretch of neighbours, its tag says
what it is for, and its step plans the rest. Of places that a person selects Dagster's daemon makes a run for each
stretch; the first one to start takes over what the others, which still wait in the queue, are for.
"""

import time
from collections.abc import Collection, Sequence
from itertools import takewhile

from dagster import (
    AssetExecutionContext,
    AssetKey,
    DagsterEvent,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
)
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

PLACES_TAG = "sq/places"  # the partitions that a run is for, where they are not all of its range, and no other
_SUBMITTING_S, _LOOK_S = 15, 0.3


def range_tags(ordered: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """The tags of a run for the wanted ones of the partitions, which are `ordered` as in Dagster; none without any."""
    chosen = [slug for slug in ordered if slug in wanted]
    if not chosen:
        return {}
    stretch = list(takewhile(lambda slug: slug in wanted, ordered[ordered.index(chosen[0]) :]))
    tags = {ASSET_PARTITION_RANGE_START_TAG: stretch[0], ASSET_PARTITION_RANGE_END_TAG: stretch[-1]}
    return tags if stretch == chosen else {**tags, PLACES_TAG: ",".join(chosen)}


def places_of(context: AssetExecutionContext, name: str, assets: Collection[AssetKey]) -> set[str]:
    """The partitions, of those called `name`, that this run is for; those beyond its range are planned now."""
    planned = set(context.partition_keys)
    told = context.run.tags.get(PLACES_TAG)
    places = set(told.split(",")) if told else planned | _take_over(context, name, planned)
    for slug in sorted(places - planned):
        for key in assets:
            event = DagsterEvent.build_asset_materialization_planned_event(
                context.job_name, context.op_execution_context.get_step_execution_context().step.key,
                AssetMaterializationPlannedData(key, partition=slug),
            )  # fmt: skip
            context.instance.report_dagster_event(event, context.run_id)
    return places


def _take_over(context: AssetExecutionContext, name: str, own: set[str]) -> set[str]:
    """What the runs of the same selection in the queue are for, which go: this run says that it is for it instead."""
    run, instance = context.run, context.instance
    selected = run.tags.get(BACKFILL_ID_TAG)
    if selected is None:
        return set()
    _wait_for_all(instance, selected)
    others = RunsFilter(tags={BACKFILL_ID_TAG: selected}, statuses=[DagsterRunStatus.QUEUED])
    queued = [other for other in instance.get_runs(others) if other.asset_selection == run.asset_selection]
    if not queued:
        return set()
    ordered = list(instance.get_dynamic_partitions(name))
    more = {slug for other in queued for slug in planned_places(other, ordered)}
    instance.add_run_tags(run.run_id, {PLACES_TAG: ",".join(slug for slug in ordered if slug in own | more)})
    for other in queued:
        context.log.info(f"this run also makes what run {other.run_id[:8]} was to make")
        instance.delete_run(other.run_id)
    return more


def _wait_for_all(instance: DagsterInstance, selected: str) -> None:
    """Until the daemon has made its runs of a selection; the first of them may have started meanwhile."""
    end = time.monotonic() + _SUBMITTING_S
    coming = RunsFilter(tags={BACKFILL_ID_TAG: selected}, statuses=[DagsterRunStatus.NOT_STARTED])
    while time.monotonic() < end:
        backfill = instance.get_backfill(selected)
        if (backfill is None or not backfill.submitting_run_requests) and not instance.get_runs(coming, limit=1):
            return
        time.sleep(_LOOK_S)


def planned_places(run: DagsterRun, ordered: Sequence[str]) -> Sequence[str]:
    """The partitions that a run's tags say it is for, of those that are `ordered` as in Dagster."""
    if told := run.tags.get(PLACES_TAG):
        return told.split(",")
    if one := run.tags.get(PARTITION_NAME_TAG):
        return [one]
    first, last = (run.tags.get(tag) for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG))
    if first not in ordered or last not in ordered:
        return []
    return ordered[ordered.index(first) : ordered.index(last) + 1]
