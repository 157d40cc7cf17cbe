"""Telling Dagster what the store and the files say, so that its pages show as stale what a plan does, and nothing else.

What an asset is made from is observed where it is another than before; what was made without Dagster, or before its
instance was lost, is told of as made. Not here: the events (`asset_events`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import AssetCheckResult, AssetKey, AssetMaterialization, DagsterInstance

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Adapter, World
from sq_pipeline.defs import adapter_assets, world_assets
from sq_pipeline.defs.asset_events import AssetEvents, Parent, Provenance
from sq_pipeline.defs.asset_inputs import inputs_key
from sq_pipeline.defs.partitions import sync_partitions
from sq_pipeline.defs.resources import IN_USE, MADE_NOW
from sq_pipeline.pipeline.adapters.adapter_assets import assets_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.plan import Plan, make_plan
from sq_pipeline.pipeline.reasons import why
from sq_pipeline.pipeline.settled import settled_key
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.in_use import notes_of
from sq_pipeline.pipeline.worlds.world_assets import WORLD_ASSETS
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_folder
from sq_pipeline.pipeline.worlds.world_status import world_state_of

_MARK = "sq/told "  # a value that Dagster keeps for us, and loses with its events
_REVISION = 1  # raised when our own code would tell something else of the same state
_AGAIN = " to be made again"
_NOTES = " notes "


@dataclass(frozen=True)
class _Told:
    """One asset with all its partitions: how each stands, and how it is told of as made."""

    key: AssetKey
    is_by_subject: bool
    steps: Mapping[str, Step]
    parents: list[Parent]
    shown: Callable[[str, Record], dict[str, Any]]
    verdict: Callable[[Record], AssetCheckResult | None] = lambda _: None


@dataclass(frozen=True)
class _Group:
    """Assets that are told of together. `mark`: a hash of all that there is to tell.

    `notes`: what is to be told of the adapters in use, with what shows pictures of them (`noted`).
    """

    name: str
    mark: str
    assets: Callable[[], Iterator[_Told]]
    notes: tuple[str, ...] = ()
    noted: tuple[AssetKey, ...] = ()


@dataclass
class _Budget:
    """How many events may still be told; None: all."""

    left: int | None = None
    told: int = field(default=0)

    @property
    def is_spent(self) -> bool:
        return self.left is not None and self.told >= self.left


def tell(instance: DagsterInstance, pipeline: Context, plan: Plan, most: int | None = None) -> list[str]:
    """Tell of all that a plan looked at, of at most `most` assets; a line where there is more to tell.

    A plan that did not look ahead is made once more where it matters: the pages show what `plan` says.
    """
    groups = list(_groups(pipeline, _looking_ahead(pipeline, plan)))
    cursors = instance.daemon_cursor_storage
    marks = cursors.get_cursor_values({f"{_MARK}{group.name}" for group in groups}) if groups else {}
    events, budget = AssetEvents(instance), _Budget(most)
    news = [group for group in groups if marks.get(f"{_MARK}{group.name}") != group.mark]
    if news:
        sync_partitions(pipeline.catalog, instance)
    for group in news:
        for asset in group.assets():
            _tell_asset(events, pipeline, asset, budget)
        if budget.is_spent:
            return [f"Dagster was told of {budget.told} assets, and will be of more"]
        _tell_notes(events, group, marks.get(f"{_MARK}{group.name}", ""))
        cursors.set_cursor_values({f"{_MARK}{group.name}": group.mark})
    return []


def _looking_ahead(pipeline: Context, plan: Plan) -> Plan:
    waits = any(step.is_to_do for steps in plan.adapters.values() for step in steps.values())
    if pipeline.looks_ahead or not waits:
        return plan
    pipeline.looks_ahead = True
    try:
        return make_plan(pipeline, None)
    finally:
        pipeline.looks_ahead = False


def _groups(pipeline: Context, plan: Plan) -> Iterator[_Group]:
    for key, steps in plan.adapters.items():
        adapter = pipeline.catalog.adapters[key]
        yield _Group(
            adapter.asset_folder, _mark_of(steps.values()), lambda a=adapter, s=steps: _of_adapter(pipeline, a, s)
        )
    for state in plan.worlds:
        notes = notes_of(pipeline, state.world, state.tier, plan.adapters)
        yield _with_notes(
            state.world,
            state.tier,
            _mark_of_world(pipeline, state),
            notes,
            lambda s=state, n=notes: _of_world(pipeline, s, n),
        )
    for found in plan.settled:
        notes = notes_of(pipeline, found.world, found.tier, plan.adapters)
        yield _with_notes(
            found.world,
            found.tier,
            f"{_REVISION} {found.key}",
            notes,
            lambda f=found, n=notes: _of_world(pipeline, world_state_of(pipeline, f.world, f.tier), n),
        )


def _with_notes(
    world: World, tier: Tier, mark: str, notes: tuple[str, ...], assets: Callable[[], Iterator[_Told]]
) -> _Group:
    """A tier of a world; its mark is as ever where there is nothing to note."""
    noted = tuple(world_assets.world_key(world, kind.name(tier)) for kind in WORLD_ASSETS.values() if kind.shows)
    if notes:
        mark += f"{_NOTES}{fingerprint({'notes': notes})}"
    return _Group(_name(world, tier), mark, assets, notes, noted)


def _tell_notes(events: AssetEvents, group: _Group, before: str) -> None:
    """Say it on the pages of the pictures that are there, which are not made again for it; and that it is over."""
    if _NOTES not in before and not group.notes:
        return
    for key in group.noted:
        events.note(key, {IN_USE: "; ".join(group.notes) or "the newest that were promoted"})


def _name(world: World, tier: Tier) -> str:
    return f"{world_folder(world)} {tier}"


def _mark_of_world(pipeline: Context, state: WorldState) -> str:
    """Of one that is fresh as a whole the same as when it is found settled."""
    is_fresh = all(step.status == "fresh" for step in state.steps())
    key = settled_key(pipeline, state.world, state.tier) if is_fresh else None
    return f"{_REVISION} {key}" if key else _mark_of(state.steps())


def _mark_of(steps: Iterable[Step]) -> str:
    return fingerprint({"revision": _REVISION, **{step.asset: [step.status, _wanted(step)] for step in steps}})


def _of_adapter(pipeline: Context, adapter: Adapter, steps: Mapping[str, Step]) -> Iterator[_Told]:
    for kind in assets_of(adapter):
        key = adapter_assets.adapter_key(adapter, kind.name)
        yield _Told(
            key,
            False,
            {"": steps[kind.name]},
            adapter_assets.parents_of(adapter, kind),
            lambda _, record, kind=kind: adapter_assets.shown_of(pipeline, kind, record),
            lambda record, kind=kind, key=key: adapter_assets.verdict_of(pipeline, kind, key, record),
        )


def _of_world(pipeline: Context, state: WorldState, notes: tuple[str, ...]) -> Iterator[_Told]:
    subjects = {subject.slug: subject for subject in state.subjects}
    for kind in WORLD_ASSETS.values():
        steps = kind.steps(state)
        if steps:
            yield _Told(
                world_assets.world_key(state.world, kind.name(state.tier)),
                kind.is_by_subject,
                steps,
                world_assets.parents_of(state.world, state.tier, kind),
                lambda slug, record, kind=kind: world_assets.shown_of(
                    pipeline, state.world, kind, record, subjects.get(slug), notes
                ),
            )


def _tell_asset(events: AssetEvents, pipeline: Context, asset: _Told, budget: _Budget) -> None:
    inputs, by_subject = inputs_key(asset.key), asset.is_by_subject
    made = events.made(asset.key, is_by_subject=by_subject)
    observed = events.observed(inputs, is_by_subject=by_subject)
    versions = {slug: event.version for slug, event in observed.items()}
    upstream = Provenance(events, [parent for parent in asset.parents if parent.key != inputs])
    late: dict[str, Record] = {}
    wanted: dict[str, str] = {}
    for slug, step in asset.steps.items():
        if budget.is_spent:
            break
        there = made.get(slug)
        # what is told of as made is told of what it is made from before, so most need no look of their own
        said = observed.get(slug)
        is_as_told = bool(
            step.status == "fresh" and there and said
            and said.version == step.fingerprint and said.storage_id < there.storage_id
        )  # fmt: skip
        if there is not None and by_subject and not is_as_told:
            there = events.made_of(asset.key, slug) or there
        record = step.record if step.status == "fresh" else _last_record(pipeline, step)
        came_from = step.fingerprint if there and by_subject and is_as_told else there and there.made_from(inputs)
        is_other = there is not None and record is not None and there.version != record.data_version
        # Dagster would go by what was told last of upstream, which may be about to be put back as it was
        is_overtaken = there is not None and step.status == "fresh" and upstream.newest(slug) > there.storage_id
        is_rewired = there is not None and there.inputs not in (None, {parent.key for parent in asset.parents})
        is_told = came_from is not None and not (is_other or is_overtaken or is_rewired)
        if record is not None and not is_told and (there is not None or step.status == "fresh"):
            late[slug], came_from = record, record.fingerprint
        if step.is_to_do and there is not None:
            wanted[slug] = _differing(step, came_from)
        elif came_from is not None:
            wanted[slug] = came_from
    _materialize(events, asset, late, versions, budget)
    for slug, version in wanted.items():
        if versions.get(slug) != version and not budget.is_spent:
            events.observe(inputs, slug, version, why(asset.steps[slug]))
            budget.told += 1


def _last_record(pipeline: Context, step: Step) -> Record | None:
    """What an asset that is not fresh was last made as, if the store has it."""
    current = pipeline.store.read_current_fingerprint(step.asset)
    return pipeline.store.read_record(step.kind, current) if current else None


def _wanted(step: Step) -> str:
    if step.inputs:
        return step.fingerprint
    first = step
    while first.because is not None:
        first = first.because
    return f"after {first.asset} {first.fingerprint}"


def _differing(step: Step, came_from: str | None) -> str:
    """What a stale asset would be made from: never what it was made from."""
    wanted = _wanted(step)
    return f"{wanted}{_AGAIN}" if came_from in (None, wanted) else wanted


def _materialize(
    events: AssetEvents, asset: _Told, late: Mapping[str, Record], versions: dict[str, str], budget: _Budget
) -> None:
    """Tell of these as made: first what each was made from, then all of them."""
    inputs = inputs_key(asset.key)
    told: dict[str, Record] = {}
    for slug, record in late.items():
        if budget.is_spent:
            break
        if versions.get(slug) != record.fingerprint:
            events.observe(inputs, slug, record.fingerprint)
            versions[slug] = record.fingerprint
        told[slug] = record
        budget.told += 1
    if not told:
        return
    provenance = Provenance(events, asset.parents)
    for slug, record in told.items():
        try:
            shown = {**asset.shown(slug, record), MADE_NOW: False}
        except SqPipelineError:
            continue  # an object was just found damaged: the next plan says so
        tags = provenance.tags(record.data_version, slug)
        events.materialize(AssetMaterialization(asset.key, partition=slug or None, metadata=shown, tags=tags))
        if verdict := asset.verdict(record):
            events.judge(verdict)
