"""The sensor `content`: partitions and pictures follow the YAML.

Each tick: partitions in step with what worlds show; pictures of what was removed archived; for each tier of a world
with something to make, one run, and one before it for what a person keeps. Pictures stand on what is promoted; training
is left to the night and to people.
"""

from collections.abc import Iterator, Sequence

from dagster import (
    DagsterInstance,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
)

from sq_pipeline.common.layout import DataDir
from sq_pipeline.content.records import Catalog
from sq_pipeline.defs.partitions import PartitionChange, partition_changes, partitions_after
from sq_pipeline.defs.places import range_tags
from sq_pipeline.defs.resources import MakeEngines
from sq_pipeline.defs.sensors.dead_runs import report_dead_runs
from sq_pipeline.defs.sensors.requests import Answer, Runs, resting
from sq_pipeline.defs.sensors.ticks import Clock, automatic, finish_tick
from sq_pipeline.defs.told import tell
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.removed_pictures import clear_removed_pictures
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_folder

_TOLD_A_TICK = 1000  # assets that Dagster is told of in one tick: each takes some milliseconds


def content_sensor(
    data: DataDir, make_engines: MakeEngines, known: Catalog, clock: Clock, interval_s: int
) -> SensorDefinition:
    """The sensor over a data directory; `known` is the content that the loaded definitions were made from."""

    @automatic("content", interval_s, "Partitions and pictures follow the YAML.")
    def content(context: SensorEvaluationContext) -> SensorResult:
        pipeline = Context(data, make_engines(data), looks_ahead=False)
        changes = partition_changes(pipeline.catalog, context.instance, known)
        removed = clear_removed_pictures(pipeline)
        dead = report_dead_runs(data, context.instance, clock(), max(15, 2 * interval_s))
        runs = Runs(context.instance, clock(), pipeline)
        plan = make_plan(pipeline, None)
        states = plan.worlds
        answers = [
            answer for state in states for answer in _ask_for_world(runs, state, changes, context.instance, known)
        ]
        notes = [
            *dead,
            *news_of(pipeline.catalog, known),
            *removed,
            *tell(context.instance, pipeline, plan, _TOLD_A_TICK),
        ]
        waiting = [step for state in states for step in state.pictures.values() if step.status == "waiting"]
        notes += [f"{step.asset} waits: {step.reasons[0]}" for step in waiting]
        notes += [str(fault) for faults in pipeline.catalog.faults.values() for fault in faults]
        return finish_tick(context, answers, notes, changes)

    return content


def news_of(catalog: Catalog, known: Catalog) -> list[str]:
    """What the loaded definitions do not show yet."""
    news: list[str] = []
    for name, now, then in (
        ("world", {key: world.tiers for key, world in catalog.worlds.items()},
         {key: world.tiers for key, world in known.worlds.items()}),
        ("adapter", dict(catalog.adapters), dict(known.adapters)),
    ):  # fmt: skip
        news += [
            f"{name} {key} is new or changed: press “Reload definitions”" for key in now if now[key] != then.get(key)
        ]
        news += [f"{name} {key} is gone: press “Reload definitions”" for key in then if key not in now]
    return news


def _ask_for_world(
    runs: Runs, state: WorldState, changes: list[PartitionChange], instance: DagsterInstance, known: Catalog
) -> Iterator[Answer]:
    """One run for a tier's stack, prompts and pictures; then one for its gallery. Nothing where nothing is to make.

    What a person keeps is put back by a run of its own: a stack that cannot be made, or a neighbour that fails again
    and again, does not hold it up.
    """
    line = world_folder(state.world)
    if state.tier != "landscape":
        line += f"/{state.tier}"
    loaded = known.worlds.get(state.world.key)
    if loaded is None or loaded.tiers != state.world.tiers:
        return  # `news_of` tells
    stale = [
        step for step in (state.stack, *state.prompts.values(), *state.pictures.values()) if step.status == "stale"
    ]
    if not stale:
        if state.gallery is not None and state.gallery.status == "stale":
            yield runs.ask(line, [state.gallery], [state.gallery.asset], {})
        return
    kept = [step for slug, step in state.pictures.items() if slug in state.kept and step.status == "stale"]
    ordered = partitions_after(changes, instance, state.world, state.tier)
    for own, steps in ((f"{line}/kept", kept), (line, [step for step in stale if step not in kept])):
        if steps:
            yield from _ask_for_steps(runs, own, steps, ordered)


def _ask_for_steps(runs: Runs, line: str, steps: Sequence[Step], ordered: Sequence[str]) -> Iterator[Answer]:
    """One run for those that no person stopped; `ordered` are the tier's partitions as Dagster has them."""
    stopped = [step for step in steps if runs.is_cancelled(step)]
    due = [step for step in steps if not runs.is_cancelled(step)]
    if due and stopped:
        yield resting(line, stopped)
    due = due or stopped  # `ask` says what became of them
    assets = list(dict.fromkeys(step.asset.partition(":")[0] for step in due))
    yield runs.ask(line, due, assets, range_tags(ordered, {step.asset.partition(":")[2] for step in due}))
