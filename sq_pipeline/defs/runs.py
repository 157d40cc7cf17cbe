"""Bringing a selection up to date through Dagster, in this process: the same assets and instance that the UI shows."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dagster import AssetKey, DagsterInstance, Definitions, JsonMetadataValue, MetadataValue

from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.common.processes.awake import kept_awake
from sq_pipeline.common.processes.deaths import told_of_death
from sq_pipeline.common.text import counted
from sq_pipeline.common.tiers import select_tiers
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.event_files import NewRun, event_files
from sq_pipeline.defs.partitions import partitions_name, sync_partitions
from sq_pipeline.defs.places import range_tags
from sq_pipeline.defs.resources import FAILED, MADE_NOW, MakeEngines
from sq_pipeline.defs.step_errors import is_interrupt, reason_of
from sq_pipeline.defs.told import tell
from sq_pipeline.pipeline.chain import chain_of, is_waiting
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.plan import Plan, make_plan
from sq_pipeline.pipeline.removed_pictures import clear_removed_pictures
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.tally import Tally, tally_of
from sq_pipeline.pipeline.worlds.world_assets import steps_of
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of
from sq_pipeline.serve.queue import RenderKey, order_by_stack
from sq_pipeline.wiring import real_engines

Say = Callable[[str], None]

# Dagster's own lines stay in its log, where the UI shows them.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Seen:
    """What a person is told of a run beside its report: pictures by world, what else was brought up to date without
    work (as `asset`), and each thing that failed for itself (`asset` or `asset:slug`, and why).
    """

    tallies: list[Tally] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class RunReport:
    """What a `run` did. `failed` was tried; `blocked` could not be, for a fault; `waiting` is for a person.

    Of what could not be made, `chain` is what led there, from the nearest asset to the first one. `warnings` are the
    plan's, as it was in the end.
    """

    trained: list[str] = field(default_factory=list)
    remapped: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    rendered: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    blocked: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    model_loads: int = 0
    wall_s: float = 0.0
    seen: Seen = field(default_factory=Seen)

    def as_json(self) -> dict[str, Any]:
        """As plain values, without what is only for people."""
        told = asdict(self)
        del told["seen"]
        return told


@dataclass(frozen=True)
class _Graph:
    """The graph of assets, where it is told of, and what makes the id of a new run."""

    defs: Definitions
    instance: DagsterInstance
    new_run: NewRun


_LISTS = {"mlx_adapter": "trained", "mflux_adapter": "remapped", "verification": "verified"}


def bring_up_to_date(
    data: DataDir,
    instance: DagsterInstance,
    world: str | None,
    say: Say,
    make_engines: MakeEngines = real_engines,
    tier: str | None = None,
    warn: Say | None = None,
    *,
    makes_adapters: bool = True,
) -> RunReport:
    """Make what is stale: first the adapters (one run), then each world's stack, prompts and pictures, tier by tier.

    Without `makes_adapters` pictures stand on what is promoted now.

    All of it from one reading of the content, so that files may change meanwhile. Waits while another run works on
    the data directory. `say` is told of the work under way, `warn` (or else `say`) of what a person should hear of in
    any case. Raises SelectionError or ContentError for a world or a tier that cannot be selected. What fails
    is in the report.
    """
    select_tiers(tier)
    start = time.perf_counter()
    with hold_run_lock(data, say), told_of_death("the run", data.death_note, say):
        pipeline = Context(data, make_engines(data), looks_ahead=makes_adapters)
        try:
            with event_files(instance) as new_run, ExitStack() as stay:
                report = _bring_up_to_date(
                    pipeline, instance, new_run, world, tier, say, warn or say, make_engines, stay
                )
        finally:
            if pipeline.engines.training_ahead is not None:
                pipeline.engines.training_ahead().close()
    report.wall_s = round(time.perf_counter() - start, 2)
    return report


def _bring_up_to_date(
    pipeline: Context,
    instance: DagsterInstance,
    new_run: NewRun,
    world: str | None,
    tier: str | None,
    say: Say,
    warn: Say,
    make_engines: MakeEngines,
    stay: ExitStack,
) -> RunReport:
    report, made = RunReport(), set[str]()
    plan = make_plan(pipeline, world, tier)
    makes_adapters = pipeline.looks_ahead
    if makes_adapters and any(map(_is_training, plan.steps())):
        stay.enter_context(kept_awake())  # for all of it: what follows a training belongs to its night
    report.skipped = plan.fresh
    due = _due(plan)
    for line in clear_removed_pictures(pipeline):
        warn(line)
    if any(step.is_to_do for step in plan.steps()):
        pipeline.store.insist_writable()
        renderer = pipeline.engines.renderer()
        loads = renderer.model_loads
        defs = build_defs(data=pipeline.data, make_engines=make_engines, shared=pipeline)
        graph = _Graph(defs, instance, new_run)
        sync_partitions(pipeline.catalog, instance)
        # once more for what only a first pass showed to be promoted before
        for _ in range(2 if makes_adapters else 0):
            adapter_steps = [step for states in plan.adapters.values() for step in states.values() if step.is_to_do]
            failed = {item["asset"] for item in report.failed}
            if adapter_steps and not failed & {step.asset for step in adapter_steps}:
                say(f"adapters: {counted(len(adapter_steps), 'step')} to make")
                pipeline.run_trains = tuple(
                    key for key, states in plan.adapters.items() if any(_is_training(step) for step in states.values())
                )
                made |= _execute(graph, [step.asset for step in adapter_steps], {}, report)
                plan = make_plan(pipeline, world, tier)
                due |= _due(plan)
        pipeline.looks_ahead = False  # what could not be made must not hold up pictures: they stand on what there is
        if makes_adapters and any(step.is_to_do for states in plan.adapters.values() for step in states.values()):
            plan = make_plan(pipeline, world, tier)  # nothing else looked ahead
        due |= _due(plan)
        for state in _by_stack(pipeline, plan.worlds):
            made |= _run_world(graph, state, say, report)
        after = make_plan(pipeline, world, tier)
        found = {state.key: state for state in after.worlds}
        # one that somebody's `plan` has found settled meanwhile is not among them
        worlds = [found.get(state.key) or world_state_of(pipeline, state.world, state.tier) for state in plan.worlds]
        plan = replace(after, worlds=tuple(worlds))
        report.model_loads = renderer.model_loads - loads
    for line in (*pipeline.describe_state(), *tell(instance, pipeline, plan)):
        warn(line)
    _note_made(pipeline, plan, made, report)
    _note_seen(plan, due, made, report)
    _note_blocked(plan, report)
    waiting = {item["asset"] for item in report.waiting}  # what was tried and then found to wait has not failed
    report.failed = [item for item in report.failed if item["asset"] not in waiting]
    report.warnings = list(dict.fromkeys(map(str, plan.warnings)))
    report.failed += [{"asset": fault.file, "reason": str(fault)} for fault in plan.faults]
    return report


def _due(plan: Plan) -> set[str]:
    return {step.asset for step in plan.steps() if step.is_to_do}


def _is_training(step: Step) -> bool:
    return step.kind == "mlx_adapter" and step.is_to_do


def _by_stack(pipeline: Context, worlds: Iterable[WorldState]) -> list[WorldState]:
    """Worlds of one base model and stack together, so that both change as seldom as can be."""

    def key_of(state: WorldState) -> RenderKey:
        stack = tuple((entry.record.data_version, entry.lora_scale) for entry in state.entries)
        return RenderKey(pipeline.base_model_of_world(state.world).name, stack)

    return order_by_stack(worlds, key_of)


def _run_world(graph: _Graph, state: WorldState, say: Say, report: RunReport) -> set[str]:
    """What was made. Without its stack a world gets its prompts only; why there is none is in the report."""
    made: set[str] = set()
    names = list(dict.fromkeys(step.asset.partition(":")[0] for step in state.steps() if step.is_to_do))
    ordered = graph.instance.get_dynamic_partitions(partitions_name(state.world, state.tier))
    first: list[str] = []  # what comes before the subjects joins their first run: each run costs a fifth of a second
    for kinds in steps_of(state.world, state.tier):
        kinds = [kind for kind in kinds if kind.part == "prompts" or not state.lacks_stack]
        chosen = [name for name in names if name.rpartition("/")[2] in {kind.name(state.tier) for kind in kinds}]
        if not chosen:
            continue
        if not kinds[0].is_by_subject:
            first += chosen
            continue
        wanted = {slug for kind in kinds for slug, step in kind.steps(state).items() if step.is_to_do}
        if not state.lacks_stack:
            say(f"{state.key}: {counted(len(wanted), 'picture')} to make")
        if tags := range_tags(ordered, wanted):
            before = len(report.failed)
            made |= _execute(graph, [*first, *chosen], tags, report)
            if {item["asset"] for item in report.failed[before:]} & set(first):
                made |= _execute(graph, chosen, tags, report)  # Dagster left out what follows what failed
            first = []
    if first:
        made |= _execute(graph, first, {}, report)
    if state.lacks_stack:
        kept = {slug for slug in state.kept if state.pictures[slug].is_to_do}
        if tags := range_tags(ordered, kept):  # what a person keeps needs no stack
            made |= _execute(graph, [world_asset(state.world, state.names.images)], tags, report)
    return made


def _execute(graph: _Graph, assets: list[str], tags: Mapping[str, str], report: RunReport) -> set[str]:
    """One run over these assets; returns what was really made (as `asset` or `asset:slug`), notes what failed."""
    keys = [AssetKey(name.split("/")) for name in assets]
    job, run_id = graph.defs.resolve_implicit_global_asset_job_def(), graph.new_run()
    try:
        result = job.execute_in_process(
            instance=graph.instance,
            run_id=run_id,
            asset_selection=keys,
            tags=tags,
            raise_on_error=False,
            run_config=_QUIET,
        )
        errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        if any(map(is_interrupt, errors)):
            raise KeyboardInterrupt  # Dagster makes a failed step of Ctrl-C, and would let the next run begin
    except KeyboardInterrupt:
        if run := graph.instance.get_run_by_id(run_id):
            graph.instance.report_run_canceled(run, message="stopped by Ctrl-C")
        raise
    made: set[str] = set()
    for event in result.all_events:
        if event.is_step_failure:
            asset = (event.step_key or "").replace("__", "/")
            reason = reason_of(event.step_failure_data.error).removeprefix(f"{asset}: ")
            report.failed.append({"asset": asset, "reason": reason})
            told = event.step_failure_data.user_failure_data
            report.seen.failures += _failures(asset, reason, told.metadata if told is not None else {})
        elif event.is_step_materialization:
            logged = event.step_materialization_data.materialization
            if MADE_NOW in logged.metadata and logged.metadata[MADE_NOW].value:
                made.add("/".join(logged.asset_key.path) + (f":{logged.partition}" if logged.partition else ""))
    return made


def _failures(asset: str, reason: str, told: Mapping[str, MetadataValue[Any]]) -> list[tuple[str, str]]:
    """Each picture that failed in the step with its own reason, or the step with its."""
    entry = told.get(FAILED)
    by_slug = entry.value if isinstance(entry, JsonMetadataValue) else None
    return (
        [(f"{asset}:{slug}", why) for slug, why in by_slug.items()] if isinstance(by_slug, dict) else [(asset, reason)]
    )


def _note_made(pipeline: Context, plan: Plan, made: Collection[str], report: RunReport) -> None:
    for states in plan.adapters.values():
        for step in states.values():
            if step.kind in _LISTS and step.asset in made:
                getattr(report, _LISTS[step.kind]).append(step.asset)
    for state in plan.worlds:
        report.rendered += [
            _describe(pipeline, state, slug, step.record)
            for slug, step in state.pictures.items()
            if step.asset in made and step.record is not None
        ]


def _note_seen(plan: Plan, due: Collection[str], made: Collection[str], report: RunReport) -> None:
    seen = report.seen
    seen.tallies = [tally for tally in (tally_of(state, due, made) for state in plan.worlds) if tally.counts]
    pictures = {step.asset for state in plan.worlds for step in state.pictures.values()}
    now = (step.asset for step in plan.steps() if step.status == "fresh")
    seen.renewed = [asset for asset in now if asset in due and asset not in made and asset not in pictures]


def _describe(pipeline: Context, state: WorldState, slug: str, record: Record) -> dict[str, Any]:
    return {
        "genre": state.world.genre,
        "world": state.world.name,
        "poi": slug,
        "tier": state.tier,
        "path": pipeline.data.relative(pipeline.picture_place(state.world, state.tier, slug)),
        "sha256": record.objects["picture"].sha256,
        "fingerprint": record.fingerprint,
        **({"chosen": told} if (told := state.world.choices.told(state.tier, slug)) else {}),
    }


def _note_blocked(plan: Plan, report: RunReport) -> None:
    """What stays unmade, and why; a world without its stack is one entry, not one a picture.

    Faults of the YAML that are told of their files are not told of each asset again.
    """
    told = set(map(str, plan.faults))
    steps = [step for states in plan.adapters.values() for step in states.values()]
    for state in plan.worlds:
        steps += [state.stack] if state.lacks_stack else state.steps()
    for step in steps:
        line = {"asset": step.asset, "reason": "; ".join(step.reasons), "chain": list(chain_of(step))}
        if is_waiting(step):
            report.waiting.append(line)
        elif step.status == "blocked" and step.reasons and told.issuperset(step.reasons):
            continue
        elif step.status == "blocked" or (step.kind == "stack" and step.status == "pending"):
            report.blocked.append(line)
