"""The line of one tier of a world: stack, prompts, pictures, gallery. What is to do, and doing it.

Not here: rendering (`pictures`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.tiers import TIER_NAMES, Tier, TierNames, published_key
from sq_pipeline.content.prompts import Prompt, write_prompt
from sq_pipeline.content.records import Subject, World
from sq_pipeline.content.stacks import lacks_adapter, stack_for
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of, promoted_record
from sq_pipeline.pipeline.chain import follow, trace
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import picture_inputs, prompt_inputs, stack_inputs
from sq_pipeline.pipeline.store import Record


@dataclass(frozen=True)
class AppliedEntry:
    """One adapter of a stack with the promoted file behind it."""

    name: str
    lora_scale: float
    record: Record


@dataclass(frozen=True)
class WorldState:
    """A tier of a world as it stands. `prompts` and `pictures` are by slug."""

    world: World
    tier: Tier
    stack: Step
    entries: tuple[AppliedEntry, ...]
    prompts: dict[str, Step] = field(default_factory=dict)
    texts: dict[str, Prompt] = field(default_factory=dict)
    pictures: dict[str, Step] = field(default_factory=dict)
    gallery: Step | None = None

    @property
    def key(self) -> str:
        """What to call it: the world, and the tier where it is not the places'."""
        return self.world.key if self.tier == "landscape" else f"{self.world.key} ({self.tier})"

    @property
    def names(self) -> TierNames:
        """What its assets are called."""
        return TIER_NAMES[self.tier]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What its pictures are of."""
        return self.world.subjects.get(self.tier, ())

    def steps(self) -> list[Step]:
        """Every step, in the order of making."""
        last = [self.gallery] if self.gallery is not None else []
        return [self.stack, *self.prompts.values(), *self.pictures.values(), *last]


def world_folder(world: World) -> str:
    """`<genre>/worlds/<world>`, in which all assets of a world are."""
    return f"{world.genre}/worlds/{world.name}"


def world_asset(world: World, name: str, slug: str | None = None) -> str:
    """`<genre>/worlds/<world>/<name>`, with a slug after `:` for one partition."""
    return f"{world_folder(world)}/{name}{f':{slug}' if slug else ''}"


def world_state_of(context: Context, world: World, tier: Tier) -> WorldState:
    """Everything of a tier of a world as it stands; never raises for a fault of its own."""
    stack, entries = stack_step_of(context, world, tier)
    state = WorldState(world, tier, stack, entries)
    base_model = context.base_model_of_world(world)
    try:
        weights, counter = context.weights_hash(base_model), context.token_counter(base_model)
        settings = context.render_settings(base_model, tier)
    except SqPipelineError as error:
        reasons = tuple(map(str, error.faults))
        for subject in state.subjects:
            asset = world_asset(world, state.names.images, subject.slug)
            state.pictures[subject.slug] = Step(asset, "picture", "blocked", reasons=reasons)
        return state
    versions = [(entry.record.data_version, entry.lora_scale) for entry in entries]
    published = context.store.read_published(world.genre)
    for subject in state.subjects:
        slug = subject.slug
        asset = world_asset(world, state.names.images, slug)
        try:
            text = write_prompt(world, subject, tier, counter)
        except SqPipelineError as error:
            state.pictures[slug] = Step(asset, "picture", "blocked", reasons=tuple(map(str, error.faults)))
            continue
        state.texts[slug] = text
        prompt_asset = world_asset(world, state.names.prompts, slug)
        state.prompts[slug] = context.step(prompt_asset, "prompt", prompt_inputs(text, base_model))
        if stack.status in ("pending", "blocked"):
            state.pictures[slug] = follow([stack], asset, "picture")
            continue
        inputs = picture_inputs(text, versions, base_model, weights, settings, context.engines.renderer_versions)
        picture = context.step(asset, "picture", inputs)
        picture = _with_published(context, state, slug, picture, published.get(published_key(tier, slug)))
        state.pictures[slug] = trace(picture, [state.prompts[slug], stack])
    return _with_gallery(context, state)


def stack_step_of(context: Context, world: World, tier: Tier) -> tuple[Step, tuple[AppliedEntry, ...]]:
    """The stack of a tier as it stands, and the promoted adapters in it (none where one is missing)."""
    asset = world_asset(world, TIER_NAMES[tier].stack)
    if reasons := _why_no_stack(context, world, tier):
        return Step(asset, "stack", "blocked", reasons=reasons), ()
    entries: list[AppliedEntry] = []
    missing: list[Step] = []
    for entry in stack_for(world, tier):
        adapter = context.catalog.adapters[f"{world.genre}/{entry.name}"]
        last = adapter_steps_of(context, adapter)["promoted_adapter"]
        record = last.record
        if record is None and not (last.is_to_do and context.looks_ahead):
            record = promoted_record(context, adapter)
        if record is None:
            missing.append(last)
        else:
            entries.append(AppliedEntry(entry.name, entry.lora_scale, record))
    if missing:
        return follow(missing, asset, "stack"), ()
    inputs = stack_inputs([(entry.record.data_version, entry.lora_scale) for entry in entries])
    return context.step(asset, "stack", inputs), tuple(entries)


def _why_no_stack(context: Context, world: World, tier: Tier) -> tuple[str, ...]:
    """Why nothing of a tier may be rendered: its manifest is faulty, or no adapter applies to it and nobody said so."""
    if faults := world.faulty_tiers.get(tier):
        return tuple(map(str, faults))
    if context.settings.missing_adapter == "none" or not world.subjects.get(tier):
        return ()
    genres = context.remember(
        "genres with adapters", lambda: {w.genre for w in context.catalog.worlds.values() if w.entries or w.excluded}
    )
    if not lacks_adapter(world, tier, has_genre_adapters=world.genre in genres):
        return ()
    hint = f"add {tier} to an `applies_to`, or write `missing_adapter: none` in sq.yaml"
    return (f"no adapter of {world.key} applies to the tier {tier}; {hint}",)


def _with_published(context: Context, state: WorldState, slug: str, step: Step, published: str | None) -> Step:
    """A picture is fresh only while the game has it too; `published` is the fingerprint of what it was given."""
    if step.status != "fresh" or step.record is None:
        return step
    path = context.data.published_image(state.world.genre, state.tier, slug)
    try:
        is_same = path.stat().st_size == step.record.objects["picture"].byte_count
    except FileNotFoundError:
        return replace(step, status="stale", reasons=(f"{context.data.relative(path)} is gone",))
    if is_same and published == step.fingerprint:
        return step
    reason = f"{context.data.relative(path)} is another picture"
    return replace(step, status="stale", reasons=(reason,))


def _with_gallery(context: Context, state: WorldState) -> WorldState:
    asset = world_asset(state.world, state.names.gallery)
    if not state.subjects:
        return state
    if to_do := [step for step in state.pictures.values() if step.is_to_do and step.record is None]:
        gallery = follow(to_do, asset, "gallery")
    elif not any(step.record for step in state.pictures.values()):
        gallery = Step(asset, "gallery", "blocked", reasons=("there are no pictures",))
    else:
        gallery = context.step(asset, "gallery", _gallery_inputs(state))
    return replace(state, gallery=gallery)


def _gallery_inputs(state: WorldState) -> dict[str, Any]:
    names = {subject.slug: subject.name for subject in state.subjects}
    made = {slug: step.record for slug, step in state.pictures.items() if step.record is not None}
    return {"pictures": [[names[slug], record.data_version] for slug, record in made.items()], "gallery": 1}


def with_prompts(state: WorldState, made: Mapping[str, Record]) -> WorldState:
    """The tier after these prompts were made; what else stands as it did."""
    fresh = {
        slug: replace(state.prompts[slug], status="fresh", record=record, reasons=()) for slug, record in made.items()
    }
    return replace(state, prompts={**state.prompts, **fresh})
