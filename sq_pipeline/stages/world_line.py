"""The line of one tier of a world: stack, prompts, pictures, gallery. What is to do, and doing it.

Not here: rendering (`pictures`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from sq_pipeline.core.content import Subject, Tier, World
from sq_pipeline.core.errors import Fault, RenderError, SqPipelineError
from sq_pipeline.core.fingerprints import fingerprint
from sq_pipeline.core.lineage import picture_inputs, prompt_inputs, stack_inputs
from sq_pipeline.core.prompts import Prompt, write_prompt
from sq_pipeline.core.stacks import lacks_adapter, stack_for
from sq_pipeline.core.tiers import TIER_NAMES, TierNames, published_key
from sq_pipeline.stages.adapter_survey import promoted_record, survey_adapter
from sq_pipeline.stages.chain import follow, trace
from sq_pipeline.stages.gallery import draw_gallery
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.storage.store import Record


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


def survey_world(workshop: Workshop, world: World, tier: Tier) -> WorldState:
    """Everything of a tier of a world as it stands; never raises for a fault of its own."""
    stack, entries = survey_stack(workshop, world, tier)
    state = WorldState(world, tier, stack, entries)
    base_model = workshop.base_model_of_world(world)
    try:
        weights, counter = workshop.weights_hash(base_model), workshop.token_counter(base_model)
        settings = workshop.render_settings(base_model, tier)
    except SqPipelineError as error:
        reasons = tuple(map(str, error.faults))
        for subject in state.subjects:
            asset = world_asset(world, state.names.images, subject.slug)
            state.pictures[subject.slug] = Step(asset, "picture", "blocked", reasons=reasons)
        return state
    versions = [(entry.record.data_version, entry.lora_scale) for entry in entries]
    published = workshop.store.read_published(world.genre)
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
        state.prompts[slug] = workshop.step(prompt_asset, "prompt", prompt_inputs(text, base_model))
        if stack.status in ("pending", "blocked"):
            state.pictures[slug] = follow([stack], asset, "picture")
            continue
        inputs = picture_inputs(text, versions, base_model, weights, settings, workshop.engines.renderer_versions)
        picture = workshop.step(asset, "picture", inputs)
        picture = _with_published(workshop, state, slug, picture, published.get(published_key(tier, slug)))
        state.pictures[slug] = trace(picture, [state.prompts[slug], stack])
    return _with_gallery(workshop, state)


def survey_stack(workshop: Workshop, world: World, tier: Tier) -> tuple[Step, tuple[AppliedEntry, ...]]:
    """The stack of a tier as it stands, and the promoted adapters in it (none where one is missing)."""
    asset = world_asset(world, TIER_NAMES[tier].stack)
    if reasons := _why_no_stack(workshop, world, tier):
        return Step(asset, "stack", "blocked", reasons=reasons), ()
    entries: list[AppliedEntry] = []
    missing: list[Step] = []
    for entry in stack_for(world, tier):
        adapter = workshop.catalog.adapters[f"{world.genre}/{entry.name}"]
        last = survey_adapter(workshop, adapter)["promoted_adapter"]
        record = last.record
        if record is None and not (last.is_to_do and workshop.looks_ahead):
            record = promoted_record(workshop, adapter)
        if record is None:
            missing.append(last)
        else:
            entries.append(AppliedEntry(entry.name, entry.lora_scale, record))
    if missing:
        return follow(missing, asset, "stack"), ()
    inputs = stack_inputs([(entry.record.data_version, entry.lora_scale) for entry in entries])
    return workshop.step(asset, "stack", inputs), tuple(entries)


def _why_no_stack(workshop: Workshop, world: World, tier: Tier) -> tuple[str, ...]:
    """Why nothing of a tier may be rendered: its manifest is faulty, or no adapter applies to it and nobody said so."""
    if faults := world.faulty_tiers.get(tier):
        return tuple(map(str, faults))
    if workshop.settings.missing_adapter == "none" or not world.subjects.get(tier):
        return ()
    genres = workshop.remember(
        "genres with adapters", lambda: {w.genre for w in workshop.catalog.worlds.values() if w.entries or w.excluded}
    )
    if not lacks_adapter(world, tier, has_genre_adapters=world.genre in genres):
        return ()
    mend = f"add {tier} to an `applies_to`, or write `missing_adapter: none` in sq.yaml"
    return (f"no adapter of {world.key} applies to the tier {tier}; {mend}",)


def _with_published(workshop: Workshop, state: WorldState, slug: str, step: Step, published: str | None) -> Step:
    """A picture is fresh only while the game has it too; `published` is the fingerprint of what it was given."""
    if step.status != "fresh" or step.record is None:
        return step
    path = workshop.data.published_image(state.world.genre, state.tier, slug)
    try:
        is_same = path.stat().st_size == step.record.objects["picture"].byte_count
    except FileNotFoundError:
        return replace(step, status="stale", reasons=(f"{workshop.data.relative(path)} is gone",))
    if is_same and published == step.fingerprint:
        return step
    reason = f"{workshop.data.relative(path)} is another picture"
    return replace(step, status="stale", reasons=(reason,))


def _with_gallery(workshop: Workshop, state: WorldState) -> WorldState:
    asset = world_asset(state.world, state.names.gallery)
    if not state.subjects:
        return state
    if to_do := [step for step in state.pictures.values() if step.is_to_do and step.record is None]:
        gallery = follow(to_do, asset, "gallery")
    elif not any(step.record for step in state.pictures.values()):
        gallery = Step(asset, "gallery", "blocked", reasons=("there are no pictures",))
    else:
        gallery = workshop.step(asset, "gallery", _gallery_inputs(state))
    return replace(state, gallery=gallery)


def _gallery_inputs(state: WorldState) -> dict[str, Any]:
    names = {subject.slug: subject.name for subject in state.subjects}
    made = {slug: step.record for slug, step in state.pictures.items() if step.record is not None}
    return {"pictures": [[names[slug], record.data_version] for slug, record in made.items()], "gallery": 1}


def _plain_record(step: Step, data: dict[str, Any]) -> Record:
    return Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=fingerprint(step.inputs),
        info=data,
    )


def make_stack(workshop: Workshop, world: World, tier: Tier) -> tuple[Record, bool]:
    """Settle the stack of a tier; raises RenderError when an adapter is missing or not promoted yet."""
    step, entries = survey_stack(workshop, world, tier)
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    if step.status != "stale":
        raise RenderError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    applied = [
        {"name": entry.name, "lora_scale": entry.lora_scale, "adapter_version": entry.record.data_version}
        for entry in entries
    ]
    return workshop.keep(step, _plain_record(step, {"adapters": applied})), True


def make_prompts(workshop: Workshop, world: World, tier: Tier, slugs: Collection[str]) -> dict[str, Record]:
    """Write the prompts of these subjects; those that cannot be written are left out (their pictures say why)."""
    state = survey_world(workshop, world, tier)
    made: dict[str, Record] = {}
    with workshop.store.together():
        for slug, step in state.prompts.items():
            if slug in slugs:
                made[slug] = _make_prompt(workshop, step, state.texts[slug])
    return made


def _make_prompt(workshop: Workshop, step: Step, text: Prompt) -> Record:
    if step.record is not None:
        return workshop.take_up(step, step.record)
    counts = {name: count for name, count in text.counts.as_json().items() if name.endswith("_tokens")}
    info = {**counts, "dropped": list(text.dropped)}
    return workshop.keep(step, _plain_record(step, info))


def make_gallery(workshop: Workshop, world: World, tier: Tier) -> tuple[Record, bool]:
    """Draw the sheet of the pictures that are there, unless the store has it; raises RenderError without pictures."""
    state = survey_world(workshop, world, tier)
    step = workshop.step(world_asset(world, state.names.gallery), "gallery", _gallery_inputs(state))
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    names = {subject.slug: subject.name for subject in state.subjects}
    pictures = [
        (names[slug], workshop.store.path_of(picture.record.objects["picture"]).read_bytes())
        for slug, picture in state.pictures.items()
        if picture.record is not None
    ]
    if not pictures:
        raise RenderError(Fault(step.asset, "", f"there are no pictures of {state.key}", "render them first"))
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=fingerprint(step.inputs),
        objects={"sheet": workshop.store.put_bytes(draw_gallery(pictures), ".png")},
        info={"pictures": len(pictures)},
    )
    return workshop.keep(step, record), True
