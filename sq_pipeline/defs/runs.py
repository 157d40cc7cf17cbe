"""Bringing a selection up to date through Dagster, in this process: the same assets and instance that the UI shows."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetKey, DagsterInstance, Definitions
from dagster_shared.error import SerializableErrorInfo

from sq_pipeline.defs.build import build_defs, sync_places
from sq_pipeline.defs.engines import real_engines
from sq_pipeline.defs.resources import MakeEngines
from sq_pipeline.defs.world_assets import PLACES_TAG
from sq_pipeline.stages.plan import Plan, make_plan
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.stages.world_line import WorldState
from sq_pipeline.storage.layout import DataDir

Say = Callable[[str], None]

# Dagster's own lines stay in its log, where the UI shows them.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class RunReport:
    """What a `run` did. Lists hold asset names, or pictures as mappings."""

    trained: list[str] = field(default_factory=list)
    remapped: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    rendered: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    blocked: list[dict[str, str]] = field(default_factory=list)
    model_loads: int = 0
    wall_s: float = 0.0


_LISTS = {"mlx_adapter": "trained", "mflux_adapter": "remapped", "verification": "verified"}


def bring_up_to_date(
    data: DataDir,
    instance: DagsterInstance,
    world: str | None,
    say: Say,
    make_engines: MakeEngines = real_engines,
) -> RunReport:
    """Make what is stale: first the adapters (one run), then each world's stack, prompts and pictures (one run each).

    Raises SelectionError or ContentError for a world that cannot be selected. What fails is in the report.
    """
    start = time.perf_counter()
    report = RunReport()
    engines = make_engines(data)
    plan = make_plan(Workshop(data, engines), world)
    report.skipped = sum(step.status == "fresh" for step in plan.steps())
    to_do = [step for step in plan.steps() if step.is_to_do]
    if to_do:
        loads = engines.renderer().model_loads
        defs = build_defs(data=data, make_engines=make_engines)
        sync_places(Workshop(data, engines).catalog, instance)
        adapter_steps = [step for states in plan.adapters.values() for step in states.values() if step.is_to_do]
        if adapter_steps:
            say(f"adapters: {len(adapter_steps)} steps to make")
            _execute(defs, instance, [step.asset for step in adapter_steps], {}, report)
            after = make_plan(Workshop(data, engines), world)
            _note_adapters(adapter_steps, after, report)
            plan = after
        for state in plan.worlds:
            _run_world(defs, instance, state, say, report)
        final = make_plan(Workshop(data, engines), world)
        _note_pictures(data, plan, final, report)
        plan = final
        report.model_loads = engines.renderer().model_loads - loads
    for step in plan.steps():
        if step.status in ("blocked", "waiting"):
            report.blocked.append({"asset": step.asset, "reason": "; ".join(step.reasons)})
    report.failed += [{"asset": fault.file, "reason": str(fault)} for fault in plan.faults]
    report.wall_s = round(time.perf_counter() - start, 2)
    return report


def _run_world(defs: Definitions, instance: DagsterInstance, state: WorldState, say: Say, report: RunReport) -> None:
    wanted = {s for s, step in state.prompts.items() if step.is_to_do}
    wanted |= {s for s, step in state.pictures.items() if step.is_to_do}
    steps = [step for step in state.steps() if step.is_to_do]
    if not steps or (state.stack.status == "blocked" and not state.prompts):
        return
    names = list(dict.fromkeys(step.asset.partition(":")[0] for step in steps))
    say(f"{state.world.key}: {len(wanted)} places to make")
    tags = {PLACES_TAG: ",".join(sorted(wanted))} if wanted else {}
    # pictures log their partitions themselves and have no output, so what follows them is a run of its own
    for group in (("stack", "prompts"), ("poi_images",), ("gallery",)):
        chosen = [name for name in names if name.rpartition("/")[2] in group]
        if chosen:
            _execute(defs, instance, chosen, tags, report)


def _execute(
    defs: Definitions, instance: DagsterInstance, assets: list[str], tags: dict[str, str], report: RunReport
) -> None:
    keys = [AssetKey(name.split("/")) for name in assets]
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, asset_selection=keys, tags=tags, raise_on_error=False, run_config=_QUIET
    )
    for event in result.all_events:
        if event.is_step_failure:
            asset = (event.step_key or "").replace("__", "/")
            report.failed.append({"asset": asset, "reason": _reason(event.step_failure_data.error)})


def _reason(error: SerializableErrorInfo | None) -> str:
    """A step's failure in one line, without the names of classes."""
    if error is None:
        return "failed"
    told = error.cause or error
    if told.cls_name == "DagsterAssetCheckFailedError":
        return "did not pass its check; its report says why"
    return "; ".join(re.sub(r"^[\w.]+: ", "", told.message.strip(), count=1).splitlines())


def _note_adapters(before: list[Step], after: Plan, report: RunReport) -> None:
    made = {step.asset: step for states in after.adapters.values() for step in states.values()}
    for step in before:
        now = made.get(step.asset)
        if now is not None and now.record is not None and step.kind in _LISTS and step.record is None:
            getattr(report, _LISTS[step.kind]).append(step.asset)


def _note_pictures(data: DataDir, before: Plan, after: Plan, report: RunReport) -> None:
    states = {state.world.key: state for state in after.worlds}
    for old in before.worlds:
        now = states[old.world.key]
        for poi in old.world.pois:
            was, is_now = old.pictures.get(poi.slug), now.pictures.get(poi.slug)
            if was is None or is_now is None or was.record is not None or is_now.record is None:
                continue
            report.rendered.append(
                {
                    "genre": old.world.genre,
                    "world": old.world.name,
                    "poi": poi.slug,
                    "tier": "landscape",
                    "path": data.relative(data.published_image(old.world.genre, "poi", poi.slug)),
                    "sha256": is_now.record.objects["picture"].sha256,
                    "fingerprint": is_now.record.fingerprint,
                }
            )
