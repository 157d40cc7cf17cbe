"""The line of one world: stack, prompts, pictures, gallery. What is to do, and doing it."""

import io
import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sq_pipeline.core.content import Poi, World
from sq_pipeline.core.errors import Fault, RenderError, SqPipelineError
from sq_pipeline.core.fingerprints import canonical_json, fingerprint, hash_bytes
from sq_pipeline.core.lineage import picture_inputs, prompt_inputs, stack_inputs
from sq_pipeline.core.prompts import Prompt, write_prompt
from sq_pipeline.core.protocols import AdapterUse, RenderRequest
from sq_pipeline.core.stacks import stack_for
from sq_pipeline.stages.adapter_survey import promoted_record, survey_adapter
from sq_pipeline.stages.chain import follow, problems_of, trace
from sq_pipeline.stages.gallery import draw_gallery
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.storage.atomic import copy_file
from sq_pipeline.storage.store import Record

TIER = "landscape"


@dataclass(frozen=True)
class AppliedEntry:
    """One adapter of a stack with the promoted file behind it."""

    name: str
    lora_scale: float
    record: Record


@dataclass(frozen=True)
class WorldState:
    """A world as it stands. `prompts` and `pictures` are by slug."""

    world: World
    stack: Step
    entries: tuple[AppliedEntry, ...]
    prompts: dict[str, Step] = field(default_factory=dict)
    texts: dict[str, Prompt] = field(default_factory=dict)
    pictures: dict[str, Step] = field(default_factory=dict)
    gallery: Step | None = None

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


def survey_world(workshop: Workshop, world: World) -> WorldState:
    """Everything of a world as it stands; never raises for a fault of its own."""
    stack, entries = survey_stack(workshop, world)
    state = WorldState(world, stack, entries)
    base_model = workshop.base_model_of_world(world)
    try:
        weights, counter = workshop.weights_hash(base_model), workshop.token_counter(base_model)
    except SqPipelineError as error:
        reasons = tuple(map(str, error.faults))
        for poi in world.pois:
            state.pictures[poi.slug] = Step(
                world_asset(world, "poi_images", poi.slug), "picture", "blocked", reasons=reasons
            )
        return state
    versions = [(entry.record.data_version, entry.lora_scale) for entry in entries]
    published = workshop.store.read_published(world.genre)
    for poi in world.pois:
        asset = world_asset(world, "poi_images", poi.slug)
        try:
            text = write_prompt(world, poi, TIER, counter)
        except SqPipelineError as error:
            state.pictures[poi.slug] = Step(asset, "picture", "blocked", reasons=tuple(map(str, error.faults)))
            continue
        state.texts[poi.slug] = text
        prompt_asset = world_asset(world, "prompts", poi.slug)
        state.prompts[poi.slug] = workshop.step(prompt_asset, "prompt", prompt_inputs(text, base_model))
        if stack.status in ("pending", "blocked"):
            state.pictures[poi.slug] = follow([stack], asset, "picture")
            continue
        inputs = picture_inputs(text, versions, base_model, weights, workshop.engines.renderer_versions)
        picture = workshop.step(asset, "picture", inputs)
        picture = _with_published(workshop, world, poi, picture, published.get(poi.slug))
        state.pictures[poi.slug] = trace(picture, [state.prompts[poi.slug], stack])
    return _with_gallery(workshop, state)


def survey_stack(workshop: Workshop, world: World) -> tuple[Step, tuple[AppliedEntry, ...]]:
    """The stack as it stands, and the promoted adapters in it (none where one is missing)."""
    asset = world_asset(world, "stack")
    entries: list[AppliedEntry] = []
    missing: list[Step] = []
    for entry in stack_for(world, TIER):
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


def _with_published(workshop: Workshop, world: World, poi: Poi, step: Step, published: str | None) -> Step:
    """A picture is fresh only while the game has it too; `published` is the fingerprint of what it was given."""
    if step.status != "fresh" or step.record is None:
        return step
    path = workshop.data.published_image(world.genre, "poi", poi.slug)
    try:
        is_same = path.stat().st_size == step.record.objects["picture"].byte_count
    except FileNotFoundError:
        return replace(step, status="stale", reasons=(f"{workshop.data.relative(path)} is gone",))
    if is_same and published == step.fingerprint:
        return step
    reason = f"{workshop.data.relative(path)} is another picture"
    return replace(step, status="stale", reasons=(reason,))


def _with_gallery(workshop: Workshop, state: WorldState) -> WorldState:
    asset = world_asset(state.world, "gallery")
    if not state.world.pois:
        return state
    if to_do := [step for step in state.pictures.values() if step.is_to_do and step.record is None]:
        gallery = follow(to_do, asset, "gallery")
    elif not any(step.record for step in state.pictures.values()):
        gallery = Step(asset, "gallery", "blocked", reasons=("there are no pictures",))
    else:
        gallery = workshop.step(asset, "gallery", _gallery_inputs(state))
    return WorldState(state.world, state.stack, state.entries, state.prompts, state.texts, state.pictures, gallery)


def _gallery_inputs(state: WorldState) -> dict[str, Any]:
    names = {poi.slug: poi.name for poi in state.world.pois}
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


def make_stack(workshop: Workshop, world: World) -> tuple[Record, bool]:
    """Settle the world's stack; raises RenderError when an adapter is not promoted yet."""
    step, entries = survey_stack(workshop, world)
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    if step.status != "stale":
        raise RenderError([Fault(step.asset, "", reason, "") for reason in step.reasons])
    applied = [
        {"name": entry.name, "lora_scale": entry.lora_scale, "adapter_version": entry.record.data_version}
        for entry in entries
    ]
    return workshop.keep(step, _plain_record(step, {"adapters": applied})), True


def make_prompts(workshop: Workshop, world: World, slugs: Collection[str]) -> dict[str, Record]:
    """Write the prompts of these places; those that cannot be written are left out (their pictures say why)."""
    state = survey_world(workshop, world)
    made: dict[str, Record] = {}
    with workshop.store.together():
        for slug, step in state.prompts.items():
            if slug in slugs:
                made[slug] = _make_prompt(workshop, step, state.texts[slug])
    return made


def _make_prompt(workshop: Workshop, step: Step, text: Prompt) -> Record:
    if step.record is not None:
        return workshop.take_up(step, step.record)
    info = {"t5_tokens": text.counts.t5, "clip_tokens": text.counts.clip, "dropped": list(text.dropped)}
    return workshop.keep(step, _plain_record(step, info))


@dataclass(frozen=True)
class MadePicture:
    """A picture that is there now; `is_rendered` tells whether it had to be rendered for it."""

    poi: Poi
    record: Record
    png: bytes
    is_rendered: bool


@dataclass(frozen=True)
class FailedPicture:
    """A place whose picture could not be made, and why. `may_pass`: trying again may help; `trace` is for the log."""

    poi: Poi
    reason: str
    may_pass: bool = True
    trace: str = ""


def make_pictures(workshop: Workshop, world: World, slugs: Collection[str]) -> Iterator[MadePicture | FailedPicture]:
    """Render what the store has not and publish all, one by one; a place that fails hinders no other.

    What failed is tried once more after the others, then given up with its reason. KeyboardInterrupt passes
    through; pictures finished before it stay.
    """
    state = survey_world(workshop, world)
    failed: list[Poi] = []
    for poi in world.pois:
        if poi.slug in slugs:
            outcome = _make_picture(workshop, state, poi)
            if isinstance(outcome, FailedPicture) and outcome.may_pass:
                failed.append(poi)
            else:
                yield outcome
    for poi in failed:
        yield _make_picture(workshop, state, poi)


def take_up_pictures(workshop: Workshop, world: World, slugs: Collection[str]) -> Iterator[MadePicture]:
    """The pictures of these places that are there as they should be; renders nothing."""
    state = survey_world(workshop, world)
    for poi in world.pois:
        step = state.pictures[poi.slug]
        if poi.slug in slugs and step.status == "fresh" and step.record is not None:
            png = workshop.store.path_of(step.record.objects["picture"]).read_bytes()
            yield MadePicture(poi, step.record, png, is_rendered=False)


def _make_picture(workshop: Workshop, state: WorldState, poi: Poi) -> MadePicture | FailedPicture:
    step = state.pictures[poi.slug]
    if step.status in ("pending", "blocked") and step.record is None:
        return FailedPicture(poi, "; ".join(problems_of(step)), may_pass=False)
    try:
        record = step.record or _render(workshop, state, poi, step)
        png = _publish(workshop, state.world, poi, step, record)
    except SqPipelineError as error:
        return FailedPicture(poi, "; ".join(map(str, error.faults)).removeprefix(f"{step.asset}: "))
    except Exception as error:  # an engine's own, such as memory that ran out: the neighbours may still be made
        reason = (str(error) or "no message").splitlines()[0]
        return FailedPicture(poi, f"{type(error).__name__}: {reason}", trace=traceback.format_exc())
    return MadePicture(poi, record, png, step.record is None)


def _publish(workshop: Workshop, world: World, poi: Poi, step: Step, record: Record) -> bytes:
    """Put the picture where the game looks, unless it is there; returns its bytes."""
    source = workshop.store.path_of(record.objects["picture"])
    published = workshop.data.published_image(world.genre, "poi", poi.slug)
    png = source.read_bytes()
    if not published.is_file() or published.read_bytes() != png:
        copy_file(source, published)
    # worlds of a genre share the folder, and a place may move from one to another
    workshop.store.write_published(world.genre, poi.slug, record.fingerprint)
    workshop.take_up(step, record)
    return png


def _render(workshop: Workshop, state: WorldState, poi: Poi, step: Step) -> Record:
    base_model, text = workshop.base_model_of_world(state.world), state.texts[poi.slug]
    size = base_model.size_for(TIER)
    uses = tuple(
        AdapterUse(workshop.store.path_of(entry.record.objects["adapter"]), entry.lora_scale) for entry in state.entries
    )
    image = workshop.engines.renderer().render(
        RenderRequest(
            base_model=base_model.name,
            positive_prompt=text.positive_prompt,
            negative_prompt=(text.negative_prompt or None) if base_model.reads_negative_prompt else None,
            seed=text.seed,
            num_inference_steps=base_model.num_inference_steps,
            width_px=size.width_px,
            height_px=size.height_px,
            guidance=base_model.guidance,
            adapters=uses,
        )
    )
    if len(image.applied) != len(uses) or not all(applied.is_whole for applied in image.applied):
        raise RenderError(
            Fault(step.asset, "", "an adapter of the stack was not applied whole", "see `adapter inspect`")
        )
    stack = [
        {
            "name": entry.name,
            "lora_scale": entry.lora_scale,
            "adapter_version": entry.record.data_version,
            "keys_matched": applied.keys_matched,
            "keys_total": applied.keys_total,
            "layers_patched": applied.layers_patched,
        }
        for entry, applied in zip(state.entries, image.applied, strict=True)
    ]
    chunks = {
        "sq.fingerprint": step.fingerprint,
        "sq.place": f"{state.world.key}/{poi.slug}",
        "sq.stack": canonical_json(stack),
        "sq.inputs": canonical_json(step.inputs),
        "sq.chip": workshop.engines.chip,
    }
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=hash_bytes(image.pixels.tobytes()),
        objects={"picture": workshop.store.put_bytes(_encode_png(image.pixels, chunks), ".png")},
        info={
            "stack": stack,
            "elapsed_s": round(image.elapsed_s, 3),
            "dropped": list(text.dropped),
            "rendered_by": image.rendered_by,
        },
    )
    return workshop.keep(step, record)


def _encode_png(pixels: np.ndarray, chunks: dict[str, str]) -> bytes:
    """PNG bytes with text chunks and nothing that differs between two makings of one picture."""
    notes = PngInfo()
    for name, value in sorted(chunks.items()):
        notes.add_itxt(name, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", pnginfo=notes)
    return buffer.getvalue()


def make_gallery(workshop: Workshop, world: World) -> tuple[Record, bool]:
    """Draw the sheet of the pictures that are there, unless the store has it; raises RenderError without pictures."""
    state = survey_world(workshop, world)
    step = workshop.step(world_asset(world, "gallery"), "gallery", _gallery_inputs(state))
    if step.record is not None:
        return workshop.take_up(step, step.record), False
    names = {poi.slug: poi.name for poi in world.pois}
    pictures = [
        (names[slug], workshop.store.path_of(picture.record.objects["picture"]).read_bytes())
        for slug, picture in state.pictures.items()
        if picture.record is not None
    ]
    if not pictures:
        raise RenderError(Fault(step.asset, "", "there are no pictures of this world", "render them first"))
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=fingerprint(step.inputs),
        objects={"sheet": workshop.store.put_bytes(draw_gallery(pictures), ".png")},
        info={"pictures": len(pictures)},
    )
    return workshop.keep(step, record), True
