"""The pictures of a world: rendering what the store has not, telling what made each, putting it where the game looks.

Not here: what is to do (`world_line`), what is said of a picture (`picture_provenance`).
"""

import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sq_pipeline.core.content import Poi, World
from sq_pipeline.core.errors import SqPipelineError
from sq_pipeline.core.protocols import AdapterUse, RenderRequest
from sq_pipeline.stages.chain import problems_of
from sq_pipeline.stages.picture_provenance import write_provenance
from sq_pipeline.stages.rendering import render
from sq_pipeline.stages.workshop import Step, Workshop
from sq_pipeline.stages.world_line import TIER, WorldState, survey_world
from sq_pipeline.storage.atomic import copy_file
from sq_pipeline.storage.png_file import encode_png
from sq_pipeline.storage.store import Record


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
    request = RenderRequest(
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
    files = [workshop.catalog.adapters[f"{state.world.genre}/{entry.name}"].file for entry in state.entries]
    image = render(workshop.engines.renderer(), request, TIER, files)
    provenance = write_provenance(workshop, state.world, text, base_model, state.entries, step, image)
    png = encode_png(image.pixels, provenance.as_chunks(step.inputs))
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=provenance.pixels,
        objects={"picture": workshop.store.put_bytes(png, ".png")},
        info={
            "stack": provenance.stack(),
            "elapsed_s": round(image.elapsed_s, 3),
            "dropped": list(text.dropped),
            "rendered_by": image.rendered_by,
            "provenance": provenance.model_dump(mode="json"),
        },
    )
    return workshop.keep(step, record)
