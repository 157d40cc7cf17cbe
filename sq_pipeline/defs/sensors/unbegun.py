"""Runs that a person cancelled before they began: they never said what they were to make, so that is said for them.

Not here: what a sensor makes of it (`requests`), and runs that died (`dead_runs`).
"""

from collections.abc import Iterator

from dagster import AssetKey, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from sq_pipeline.defs.partitions import partitions_name
from sq_pipeline.defs.places import planned_places
from sq_pipeline.defs.run_tags import WANTS_TAG, note_steps
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.worlds.world_state import WorldState

_RUNS_LOOKED_AT = 100


def note_unbegun(instance: DagsterInstance, pipeline: Context) -> None:
    """Have each such run say it, once: what it was for and is to be made now, so soon after."""
    cancelled = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.CANCELED]), limit=_RUNS_LOOKED_AT)
    silent = [run for run in cancelled if WANTS_TAG not in run.tags]
    if not silent:
        return
    lines = (adapter_steps_of(pipeline, adapter) for adapter in pipeline.catalog.adapters.values())
    adapters = [step for line in lines for step in line.values()]
    worlds = make_plan(pipeline, None).worlds
    for run in silent:
        steps = [step for step in adapters if _is_of(run, step)]
        steps += (step for state in worlds for step in _of_world(run, state, instance))
        note_steps(instance, run.run_id, [step for step in steps if step.is_to_do])


def _of_world(run: DagsterRun, state: WorldState, instance: DagsterInstance) -> Iterator[Step]:
    steps = [step for step in state.steps() if _is_of(run, step)]
    if not steps:
        return
    ordered = instance.get_dynamic_partitions(partitions_name(state.world, state.tier))
    places = planned_places(run, ordered)
    for step in steps:
        _, _, slug = step.asset.partition(":")
        if not slug or slug in places:
            yield step


def _is_of(run: DagsterRun, step: Step) -> bool:
    """True where the run is for the step's asset, of whichever place."""
    return run.asset_selection is None or AssetKey(step.asset.partition(":")[0].split("/")) in run.asset_selection
