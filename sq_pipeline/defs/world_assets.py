"""The assets of one world, for each tier, as Dagster has them: those in `pipeline.worlds.world_assets`.

One step makes many partitions, with the model loaded once; each is logged as it is made, with its own data version.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    DataVersion,
    DynamicPartitionsDefinition,
    Failure,
    MaterializeResult,
    MetadataValue,
    asset,
    multi_asset,
)

from sq_pipeline.common.text import counted
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import Subject, World
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.defs.asset_events import AssetEvents, Parent, Provenance
from sq_pipeline.defs.asset_inputs import inputs_key, inputs_spec
from sq_pipeline.defs.places import places_of
from sq_pipeline.defs.resources import CHOSEN, FAILED, GALLERY, GPU_POOL, IN_USE, MADE_NOW, PIPELINE, REASONS
from sq_pipeline.defs.run_tags import note_steps
from sq_pipeline.defs.shown import metadata_of, plain_metadata, tags_of
from sq_pipeline.pipeline.adapters.adapter_assets import assets_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.gallery_address import gallery_address, picture_address
from sq_pipeline.pipeline.reasons import why
from sq_pipeline.pipeline.sources import Source
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.in_use import notes_of
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.world_asset import Failed, Made, WorldAsset
from sq_pipeline.pipeline.worlds.world_assets import WORLD_ASSETS, steps_of
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of

_LINKED = {"adapter": "promoted_adapter", "report of": "verification", "dataset of": "training_dataset"}
_IN_GALLERY = ("images", "gallery")  # parts that the gallery shows
WORLD = "world"  # leads from an asset back to the folders that it is named after


def world_key(world: World, name: str) -> AssetKey:
    """`<genre>/worlds/<world>/<name>`."""
    return AssetKey(world_asset(world, name).split("/"))


def subjects_of(world: World, tier: Tier) -> DynamicPartitionsDefinition:
    """The partitions of a tier's pictures and prompts, by slug."""
    return DynamicPartitionsDefinition(name=f"{TIER_NAMES[tier].noun}s/{world.genre_part}/{world.world_part}")


def _world_now(pipeline: Context, world: World) -> World:
    """The world as this run reads it: the graph may have been built from an older state of the files."""
    return pipeline.catalog.select(world.key)[0]


def build_world_assets(
    world: World, sources: Mapping[str, Source], gallery: str | None = None
) -> list[AssetsDefinition | AssetSpec]:
    """The assets of each tier of a world: one for each step of a run, and what each is made from.

    `gallery`: the address of the gallery that shows its pictures.
    """
    built: list[AssetsDefinition | AssetSpec] = []
    for tier in world.tiers:
        for kinds in steps_of(world, tier):
            make = _by_subject if kinds[0].is_by_subject else _whole
            built.append(make(world, tier, kinds, gallery))
            built += [_inputs_spec(world, tier, kind, sources) for kind in kinds]
    return built


def _inputs_spec(world: World, tier: Tier, kind: WorldAsset, sources: Mapping[str, Source]) -> AssetSpec:
    partitions = subjects_of(world, tier) if kind.is_by_subject else None
    kinds = [source.format(tier=tier) for source in kind.sources]
    return inputs_spec(world_key(world, kind.name(tier)), sources, kinds, partitions)


def _whole(world: World, tier: Tier, kinds: Sequence[WorldAsset], gallery: str | None) -> AssetsDefinition:
    """A kind of which there is one a tier."""
    (kind,) = kinds

    @asset(
        key=world_key(world, kind.name(tier)),
        deps=_parent_keys(world, tier, kind),
        group_name=world.genre_part,
        pool=GPU_POOL if kind.uses_gpu(world, tier) else None,
        metadata={WORLD: world.key, **_gallery_link(kind, gallery)},
        kinds={*kind.tags},
        tags=_tags(world, tier),
        required_resource_keys={PIPELINE},
        description=kind.description(world, tier),
    )
    def whole(context: AssetExecutionContext) -> MaterializeResult:
        pipeline: Context = context.resources.pipeline
        step = kind.steps(world_state_of(pipeline, _world_now(pipeline, world), tier)).get("")
        note_steps(context.instance, context.run_id, [step] if step else [])
        (outcome,) = make_world_asset(pipeline, _world_now(pipeline, world), tier, kind.part)
        assert isinstance(outcome, Made)  # what fails raises
        notes = notes_of(pipeline, _world_now(pipeline, world), tier)
        shown = {REASONS: why(step) if step else "", **shown_of(pipeline, world, kind, outcome.record, notes=notes)}
        return MaterializeResult(data_version=DataVersion(outcome.record.data_version), metadata=shown)

    return whole


def parents_of(world: World, tier: Tier, kind: WorldAsset) -> list[Parent]:
    """What one of a kind is made from, first its own inputs."""
    own = Parent(inputs_key(world_key(world, kind.name(tier))), True, kind.is_by_subject)
    if kind.part == "stack":
        keys = (
            AssetKey([world.genre_part, "loras", entry.name, "promoted_adapter"]) for entry in stack_for(world, tier)
        )
        return [own, *(Parent(key, False, False) for key in keys)]
    upstream = [WORLD_ASSETS[part] for part in kind.upstream]
    return [own, *(Parent(world_key(world, of.name(tier)), False, of.is_by_subject) for of in upstream)]


def _tags(world: World, tier: Tier) -> dict[str, str]:
    return tags_of(genre=world.genre_part, world=world.world_part, tier=tier)


def _parent_keys(world: World, tier: Tier, kind: WorldAsset) -> list[AssetKey]:
    return [parent.key for parent in parents_of(world, tier, kind)]


def _by_subject(world: World, tier: Tier, kinds: Sequence[WorldAsset], gallery: str | None) -> AssetsDefinition:
    """Kinds of which there is one a subject, all in one step.

    It tells of each partition itself and has no output, which would be recorded as one more materialization without a
    partition; a step of its own for the pictures would be skipped after such a one.
    """
    keys = {kind.part: world_key(world, kind.name(tier)) for kind in kinds}
    last = keys[kinds[-1].part]

    @multi_asset(
        specs=[
            AssetSpec(
                keys[kind.part],
                deps=_parent_keys(world, tier, kind),
                group_name=world.genre_part,
                metadata={WORLD: world.key, **_gallery_link(kind, gallery)},
                kinds={*kind.tags},
                tags=_tags(world, tier),
                skippable=True,
                description=kind.description(world, tier),
            )
            for kind in kinds
        ],
        name="__".join((*last.path[:-1], f"{TIER_NAMES[tier].noun}s")),
        partitions_def=subjects_of(world, tier),
        backfill_policy=BackfillPolicy.single_run(),
        required_resource_keys={PIPELINE},
        can_subset=True,
        pool=GPU_POOL,
    )
    def shown(context: AssetExecutionContext) -> Iterator[AssetMaterialization]:
        chosen = [kind for kind in kinds if keys[kind.part] in context.selected_asset_keys]
        slugs = places_of(context, str(subjects_of(world, tier).name), [keys[kind.part] for kind in chosen])
        state = world_state_of(context.resources.pipeline, _world_now(context.resources.pipeline, world), tier)
        steps = [step for kind in chosen for slug, step in kind.steps(state).items() if slug in slugs]
        note_steps(context.instance, context.run_id, steps)
        for kind in chosen:
            yield from _make(context, world, tier, kind, keys[kind.part], slugs)

    return shown


def _make(
    context: AssetExecutionContext, world: World, tier: Tier, kind: WorldAsset, key: AssetKey, slugs: Collection[str]
) -> Iterator[AssetMaterialization]:
    """Yields each as it is made: what is only logged reaches Dagster at the end, and not after a failure."""
    pipeline: Context = context.resources.pipeline
    state = world_state_of(pipeline, _world_now(pipeline, world), tier)
    steps = kind.steps(state)
    failed: dict[str, str] = {}
    events = AssetEvents(context.instance)
    tell_inputs(events, kind, key, {slug: steps.get(slug) for slug in slugs})
    provenance = Provenance(events, parents_of(world, tier, kind))
    renderer = pipeline.engines.renderer() if kind.uses_gpu(world, tier) else None
    loads, made = renderer.model_loads if renderer else 0, 0
    notes = notes_of(pipeline, state.world, tier)
    for outcome in kind.make(pipeline, state, slugs):
        if isinstance(outcome, Failed) and outcome.waits:
            context.log.warning(f"{outcome.subject.slug} waits: {outcome.reason}")
        elif isinstance(outcome, Failed):
            context.log.error(f"{outcome.subject.slug}: {outcome.reason}\n{outcome.trace}".rstrip())
            failed[outcome.subject.slug] = outcome.reason
        else:
            made += outcome.is_made
            yield _explain(context, kind, _describe(pipeline, state, kind, key, outcome, provenance, notes), steps)
    if renderer is not None:
        loads = renderer.model_loads - loads
        context.log.info(f"{made} pictures rendered, base model loaded {loads} times")
        tags = {"sq/rendered": str(made), "sq/failed": str(len(failed)), "sq/model_loads": str(loads)}
        context.instance.add_run_tags(context.run_id, tags)
    if failed:
        lines = "; ".join(f"{slug}: {reason}" for slug, reason in failed.items())
        told = f"{counted(len(failed), 'picture')} failed: {lines}"
        raise Failure(told, metadata={FAILED: MetadataValue.json(failed)}, allow_retries=False)


def _explain(
    context: AssetExecutionContext, kind: WorldAsset, event: AssetMaterialization, steps: Mapping[str, Step]
) -> AssetMaterialization:
    """With why it was made; why nothing was, and how to get another one, is said in the run's log, too."""
    step = steps[str(event.partition)]
    told = why(step)
    if step.status == "fresh" and kind.another:
        told += f"; {kind.another}"
        context.log.info(f"{event.partition}: {told}")
    return event.with_metadata({REASONS: told, **event.metadata})


def _describe(
    pipeline: Context,
    state: WorldState,
    kind: WorldAsset,
    key: AssetKey,
    made: Made,
    provenance: Provenance,
    notes: Sequence[str],
) -> AssetMaterialization:
    assert made.subject is not None
    shown = shown_of(pipeline, state.world, kind, made.record, made.subject, notes)
    if kind.uses_gpu(state.world, state.tier):
        shown[MADE_NOW] = made.is_made
    tags = provenance.tags(made.record.data_version, made.subject.slug)
    return AssetMaterialization(key, partition=made.subject.slug, metadata=shown, tags=tags)


def shown_of(
    pipeline: Context,
    world: World,
    kind: WorldAsset,
    record: Record,
    subject: Subject | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What a materialization of this record shows. `notes`: what is to be told of the adapters, beside pictures."""
    alt = world.key if subject is None else subject.name
    told = {IN_USE: "; ".join(notes)} if notes and kind.shows else {}
    figures = plain_metadata(kind.figures(record))
    place = () if subject is None else (world.genre, world.name, _tier_of(record), subject.slug)
    links = _links(pipeline, world, kind.adapters(record))
    links |= _gallery_link(kind, gallery_address(pipeline.data), *place)
    if subject is not None and kind.shows and (chosen := world.choices.told(_tier_of(record), subject.slug)):
        told[CHOSEN] = chosen
    return {**told, **figures, **links, **metadata_of(pipeline, record, kind.shows, alt)}


def _gallery_link(kind: WorldAsset, address: str | None, *place: str) -> dict[str, Any]:
    """To the gallery, or to the place of one picture in it; of pictures alone, and where its address is known."""
    if address is None or kind.part not in _IN_GALLERY:
        return {}
    return {GALLERY: MetadataValue.url(picture_address(address, *place) if place else address)}


def _tier_of(record: Record) -> str:
    """The tier of a picture's record, whether it was rendered or is kept."""
    return str(record.info.get("tier") or record.info.get("provenance", {}).get("tier", ""))


def _links(pipeline: Context, world: World, names: Sequence[str]) -> dict[str, Any]:
    """To the adapters that something was made with, their reports and their datasets."""
    links: dict[str, Any] = {}
    for name in names:
        adapter = pipeline.catalog.adapters.get(f"{world.genre}/{name}")
        if adapter is None:
            continue  # it was renamed since
        there = {kind.name for kind in assets_of(adapter)}
        for what, kind in _LINKED.items():
            if kind in there:
                links[f"{what} {name}"] = MetadataValue.asset(AssetKey([*adapter.asset_folder.split("/"), kind]))
    return links


def tell_inputs(events: AssetEvents, kind: WorldAsset, key: AssetKey, steps: Mapping[str, Step | None]) -> None:
    """Tell Dagster what these are made from, where it was told of something else, before they are told of as made."""
    known = events.observed(inputs_key(key), is_by_subject=kind.is_by_subject)
    for slug, step in steps.items():
        if step is None or step.status not in ("fresh", "stale"):
            continue
        if slug not in known or known[slug].version != step.fingerprint:
            events.observe(inputs_key(key), slug, step.fingerprint, why(step))
