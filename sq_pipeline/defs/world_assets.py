"""The assets of one world, for each tier: stack, prompts and pictures (a partition a subject), gallery.

One step makes many partitions, with the model loaded once; each is logged as it is made, with its own data version.
"""

from collections.abc import Collection, Iterator, Mapping

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

from sq_pipeline.common.errors import ContentError, Fault
from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import World
from sq_pipeline.content.stacks import stack_for
from sq_pipeline.defs.resources import GPU_POOL, MADE_NOW, PIPELINE
from sq_pipeline.pictures.sheets import thumbnail_markdown
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds import world_status
from sq_pipeline.pipeline.worlds.gallery import make_gallery
from sq_pipeline.pipeline.worlds.images import FailedPicture, MadePicture, make_pictures, reuse_pictures
from sq_pipeline.pipeline.worlds.prompts import make_prompts
from sq_pipeline.pipeline.worlds.stack import make_stack
from sq_pipeline.pipeline.worlds.world_status import WorldState

RANGE_START_TAG, RANGE_END_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
ONLY_TAG = "sq/places"  # which partitions of its range a run is for, where that is not all of them
_DATA_VERSION_TAG = "dagster/data_version"
_INPUT_TAG = "dagster/input_data_version/"


def world_key(world_name: str, genre: str, name: str) -> AssetKey:
    """`<genre>/worlds/<world>/<name>`."""
    return AssetKey([genre, "worlds", world_name, name])


def subjects_of(world: World, tier: Tier) -> DynamicPartitionsDefinition:
    """The partitions of a tier's pictures and prompts, by slug."""
    return DynamicPartitionsDefinition(name=f"{TIER_NAMES[tier].noun}s/{world.genre}/{world.name}")


def _world_now(pipeline: Context, world: World) -> World:
    """The world as this run reads it: the graph may have been built from an older state of the files."""
    return pipeline.catalog.select(world.key)[0]


def build_world_assets(world: World) -> list[AssetsDefinition]:
    """The four assets of each tier of a world; one that shows nothing has only its stack."""
    found: list[AssetsDefinition] = []
    for tier in world.tiers:
        found.append(_stack(world, tier))
        if world.subjects.get(tier):
            found += [_prompts_and_images(world, tier), _gallery(world, tier)]
    return found


def build_broken_world(key: str, faults: tuple[Fault, ...]) -> AssetsDefinition:
    """A world that cannot be read, shown with its faults; making it fails with them."""
    genre, _, name = key.partition("/")
    lines = "\n".join(f"- {fault}" for fault in faults)

    @asset(
        key=world_key(name, genre, "stack"),
        group_name=genre,
        required_resource_keys={PIPELINE},
        description=f"**This world cannot be read:**\n\n{lines}",
        metadata={f"fault {number}": str(fault) for number, fault in enumerate(faults, start=1)},
    )
    def stack(context: AssetExecutionContext) -> None:
        pipeline: Context = context.resources.pipeline
        pipeline.catalog.select(key)
        raise ContentError(Fault(key, "", "it was broken when these definitions were loaded", "reload the definitions"))

    return stack


def _stack(world: World, tier: Tier) -> AssetsDefinition:
    loras = [AssetKey([world.genre, "loras", entry.name, "promoted_adapter"]) for entry in stack_for(world, tier)]
    description = f"The adapters that apply to this world's {tier} pictures, in order, with their scales."
    if faults := world.faulty_tiers.get(tier):
        lines = "\n".join(f"- {fault}" for fault in faults)
        description += f"\n\n**What it shows cannot be read:**\n\n{lines}"

    @asset(
        key=world_key(world.name, world.genre, TIER_NAMES[tier].stack),
        deps=loras,
        group_name=world.genre,
        required_resource_keys={PIPELINE},
        description=description,
    )
    def stack(context: AssetExecutionContext) -> MaterializeResult:
        pipeline: Context = context.resources.pipeline
        record, _ = make_stack(pipeline, _world_now(pipeline, world), tier)
        adapters = MetadataValue.json(record.info["adapters"])
        return MaterializeResult(data_version=DataVersion(record.data_version), metadata={"adapters": adapters})

    return stack


def _prompts_and_images(world: World, tier: Tier) -> AssetsDefinition:
    """Both in one step. It tells of each partition itself and has no output, which would be recorded as one more
    materialization without a partition; a step of its own for the pictures would be skipped after such a one.
    """
    names = TIER_NAMES[tier]
    prompts, images, stack = (
        world_key(world.name, world.genre, name) for name in (names.prompts, names.images, names.stack)
    )

    @multi_asset(
        specs=[
            AssetSpec(
                prompts,
                group_name=world.genre,
                skippable=True,
                description=f"What each {names.noun}'s picture is asked with.",
            ),
            AssetSpec(
                images,
                deps=[stack, prompts],
                group_name=world.genre,
                skippable=True,
                description=f"A picture of each {names.noun}. Select partitions and materialize to make or renew them.",
            ),
        ],
        name="__".join((*images.path[:-1], f"{names.noun}s")),
        partitions_def=subjects_of(world, tier),
        backfill_policy=BackfillPolicy.single_run(),
        required_resource_keys={PIPELINE},
        can_subset=True,
        pool=GPU_POOL,
    )
    def shown(context: AssetExecutionContext) -> Iterator[AssetMaterialization]:
        pipeline: Context = context.resources.pipeline
        world_now, slugs = _world_now(pipeline, world), set(context.partition_keys)
        if only := context.run.tags.get(ONLY_TAG):
            slugs &= set(only.split(","))
        state = world_status.world_state_of(pipeline, world_now, tier)
        if prompts in context.selected_asset_keys:
            made = make_prompts(pipeline, world_now, tier, slugs, state)
            yield from _describe_prompts(made, prompts)
            state = world_status.with_prompts(state, made)
        if images in context.selected_asset_keys:
            yield from _make_pictures(context, pipeline, state, slugs, images)

    return shown


def _describe_prompts(made: Mapping[str, Record], key: AssetKey) -> Iterator[AssetMaterialization]:
    for slug, record in made.items():
        tags = {_DATA_VERSION_TAG: record.data_version}
        yield AssetMaterialization(key, partition=slug, metadata={**record.inputs, **record.info}, tags=tags)


def _make_pictures(
    context: AssetExecutionContext,
    pipeline: Context,
    state: WorldState,
    slugs: Collection[str],
    key: AssetKey,
) -> Iterator[AssetMaterialization]:
    """Yields each picture as it is made: what is only logged reaches Dagster at the end, and not after a failure."""
    world, tier = state.world, state.tier
    failed: dict[str, str] = {}
    renderer = pipeline.engines.renderer()
    loads, rendered = renderer.model_loads, 0
    upstream = _upstream_versions(state)
    for outcome in make_pictures(pipeline, world, tier, slugs, state):
        if isinstance(outcome, FailedPicture):
            context.log.error(f"{outcome.subject.slug}: {outcome.reason}\n{outcome.trace}".rstrip())
            failed[outcome.subject.slug] = outcome.reason
        else:
            rendered += outcome.is_rendered
            yield _describe_picture(outcome, key, upstream.get(outcome.subject.slug, {}))
    loads = renderer.model_loads - loads
    context.log.info(f"{rendered} pictures rendered, base model loaded {loads} times")
    context.instance.add_run_tags(
        context.run_id, {"sq/rendered": str(rendered), "sq/failed": str(len(failed)), "sq/model_loads": str(loads)}
    )
    if failed:
        # Dagster would show what it planned and did not see made as failed: here, places between those of a run
        others = set(context.partition_keys) - set(slugs)
        for outcome in reuse_pictures(pipeline, world, tier, others):
            yield _describe_picture(outcome, key, upstream.get(outcome.subject.slug, {}))
        lines = "; ".join(f"{slug}: {reason}" for slug, reason in failed.items())
        raise Failure(f"{len(failed)} pictures failed: {lines}", allow_retries=False)


def _upstream_versions(state: WorldState) -> dict[str, dict[str, str]]:
    """For each subject, the tags that tell Dagster which stack and prompt its picture is made from."""
    world = state.world
    names = (state.names.stack, state.names.prompts)
    stack, prompts = (world_key(world.name, world.genre, name).to_user_string() for name in names)
    stack_version = state.stack.record.data_version if state.stack.record else ""
    return {
        slug: {
            f"{_INPUT_TAG}{stack}": stack_version,
            f"{_INPUT_TAG}{prompts}": step.record.data_version if step.record else "",
        }
        for slug, step in state.prompts.items()
    }


def _describe_picture(made: MadePicture, key: AssetKey, upstream: Mapping[str, str]) -> AssetMaterialization:
    record = made.record
    metadata = {
        "picture": MetadataValue.md(thumbnail_markdown(made.png, made.subject.name)),
        "prompt": record.inputs["positive_prompt"],
        "seed": record.inputs["seed"],
        "stack": MetadataValue.json(record.info["stack"]),
        "fingerprint": record.fingerprint,
        MADE_NOW: made.is_rendered,
    }
    tags = {_DATA_VERSION_TAG: record.data_version, **upstream}
    return AssetMaterialization(key, partition=made.subject.slug, metadata=metadata, tags=tags)


def _gallery(world: World, tier: Tier) -> AssetsDefinition:
    names = TIER_NAMES[tier]

    @asset(
        key=world_key(world.name, world.genre, names.gallery),
        deps=[world_key(world.name, world.genre, names.images)],
        group_name=world.genre,
        required_resource_keys={PIPELINE},
        description=f"All {tier} pictures of this world on one sheet.",
    )
    def gallery(context: AssetExecutionContext) -> MaterializeResult:
        pipeline: Context = context.resources.pipeline
        record, _ = make_gallery(pipeline, _world_now(pipeline, world), tier)
        png = pipeline.store.path_of(record.objects["sheet"]).read_bytes()
        sheet = MetadataValue.md(thumbnail_markdown(png, world.key, 900))
        return MaterializeResult(
            data_version=DataVersion(record.data_version),
            metadata={"sheet": sheet, "pictures": record.info["pictures"]},
        )

    return gallery
