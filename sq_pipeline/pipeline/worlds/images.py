"""The pictures of a world's tier: rendering what the store has not, telling what made each, putting it where the game
looks.

Not here: what is to do (`worlds.world_status`), what is said of a picture (`worlds.image_provenance`).
"""

import traceback
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.atomic import copy_file
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.tiers import Tier, published_key
from sq_pipeline.content.records import Subject, World
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pipeline.chain import problems_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.image_provenance import write_provenance
from sq_pipeline.pipeline.worlds.world_status import WorldState, world_state_of


@dataclass(frozen=True)
class MadePicture:
    """A picture that is there now; `is_rendered` tells whether it had to be rendered for it."""

    subject: Subject
    record: Record
    png: bytes
    is_rendered: bool


@dataclass(frozen=True)
class FailedPicture:
    """A subject whose picture could not be made, and why. `may_pass`: trying again may help; `trace` is for the log."""

    subject: Subject
    reason: str
    may_pass: bool = True
    trace: str = ""


def make_pictures(
    context: Context, world: World, tier: Tier, slugs: Collection[str], state: WorldState | None = None
) -> Iterator[MadePicture | FailedPicture]:
    """Render what the store has not and publish all, one by one; a subject that fails hinders no other.

    What failed is tried once more after the others, then given up with its reason. KeyboardInterrupt passes
    through; pictures finished before it stay. `state`: the tier as it stands, where the caller has surveyed it.
    """
    state = state or world_state_of(context, world, tier)
    failed: list[Subject] = []
    for subject in state.subjects:
        if subject.slug in slugs:
            outcome = _make_picture(context, state, subject)
            if isinstance(outcome, FailedPicture) and outcome.may_pass:
                failed.append(subject)
            else:
                yield outcome
    for subject in failed:
        yield _make_picture(context, state, subject)


def reuse_pictures(context: Context, world: World, tier: Tier, slugs: Collection[str]) -> Iterator[MadePicture]:
    """The pictures of these subjects that are there as they should be; renders nothing."""
    state = world_state_of(context, world, tier)
    for subject in state.subjects:
        step = state.pictures[subject.slug]
        if subject.slug in slugs and step.status == "fresh" and step.record is not None:
            png = context.store.path_of(step.record.objects["picture"]).read_bytes()
            yield MadePicture(subject, step.record, png, is_rendered=False)


def _make_picture(context: Context, state: WorldState, subject: Subject) -> MadePicture | FailedPicture:
    step = state.pictures[subject.slug]
    if step.status in ("pending", "blocked") and step.record is None:
        return FailedPicture(subject, "; ".join(problems_of(step)), may_pass=False)
    try:
        record = step.record or _render(context, state, subject, step)
        png = _publish(context, state, subject, step, record)
    except SqPipelineError as error:
        return FailedPicture(subject, "; ".join(map(str, error.faults)).removeprefix(f"{step.asset}: "))
    except Exception as error:  # an engine's own, such as memory that ran out: the neighbours may still be made
        reason = (str(error) or "no message").splitlines()[0]
        return FailedPicture(subject, f"{type(error).__name__}: {reason}", trace=traceback.format_exc())
    return MadePicture(subject, record, png, step.record is None)


def _publish(context: Context, state: WorldState, subject: Subject, step: Step, record: Record) -> bytes:
    """Put the picture where the game looks, unless it is there; returns its bytes."""
    source = context.store.path_of(record.objects["picture"])
    published = context.data.published_image(state.world.genre, state.tier, subject.slug)
    png = source.read_bytes()
    if not published.is_file() or published.read_bytes() != png:
        copy_file(source, published)
    # worlds of a genre share the folder, and a subject may move from one to another
    context.store.write_published(state.world.genre, published_key(state.tier, subject.slug), record.fingerprint)
    context.reuse(step, record)
    return png


def _render(context: Context, state: WorldState, subject: Subject, step: Step) -> Record:
    base_model, text = context.base_model_of_world(state.world), state.texts[subject.slug]
    settings = context.render_settings(base_model, state.tier)
    adapters, genre = context.catalog.adapters, state.world.genre
    uses = tuple(
        AdapterUse(
            context.store.path_of(entry.record.objects["adapter"]),
            entry.lora_scale,
            adapters[f"{genre}/{entry.name}"].file,
        )
        for entry in state.entries
    )
    request = RenderRequest(
        base_model=base_model.name,
        positive_prompt=text.positive_prompt,
        negative_prompt=(text.negative_prompt or None) if base_model.reads_negative_prompt else None,
        seed=text.seed,
        num_inference_steps=settings.num_inference_steps,
        width_px=settings.size.width_px,
        height_px=settings.size.height_px,
        guidance=settings.guidance,
        adapters=uses,
        tier=state.tier,
    )
    image = context.engines.renderer().render(request)
    provenance = write_provenance(context, state, text, step, image)
    png = encode_png(image.pixels, provenance.as_chunks(step.inputs))
    record = Record(
        kind=step.kind,
        fingerprint=step.fingerprint,
        inputs=step.inputs,
        data_version=provenance.pixels,
        objects={"picture": context.store.put_bytes(png, ".png")},
        info={
            "stack": provenance.stack(),
            "elapsed_s": round(image.elapsed_s, 3),
            "dropped": list(text.dropped),
            "rendered_by": image.rendered_by,
            "provenance": provenance.model_dump(mode="json"),
        },
    )
    return context.keep(step, record)
