"""The asset `images`: the pictures of a world's tier, rendered, told what made each, put where the game looks.

Not here: what is said of a picture (`worlds.image_provenance`).
"""

import stat
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.hints import command
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.common.tiers import TIER_NAMES
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Subject
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.pipeline.chain import follow, problems_of, trace
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs, picture_inputs
from sq_pipeline.pipeline.shown import ShownPicture
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.theirs import pixels_of, why_no_picture_of_ours
from sq_pipeline.pipeline.worlds.image_provenance import picture_figures, write_provenance
from sq_pipeline.pipeline.worlds.kept import is_kept_file, kept_step, take_kept, unkept
from sq_pipeline.pipeline.worlds.rendering_now import told_as_rendering
from sq_pipeline.pipeline.worlds.world_asset import Failed, Made, WorldAsset
from sq_pipeline.pipeline.worlds.world_state import KeptPicture, WorldState, world_asset


def _enter_status(context: Context, state: WorldState) -> WorldState:
    world, inputs_of = state.world, inputs_by_subject(context, state)
    published = context.store.read_published(world.genre)
    pictures: dict[str, Step] = {}
    kept: dict[str, KeptPicture] = {}
    for subject in state.subjects:
        slug = subject.slug
        asset, key = world_asset(world, state.names.images, slug), context.picture_key(world, state.tier, slug)
        if unclear := world.choices.faults_of(state.tier, slug):
            pictures[slug] = Step(asset, "picture", "blocked", reasons=tuple(map(str, unclear)))
            continue
        choice = world.choices.kept.get((state.tier, slug))
        picture = _rendered(context, state, subject, asset, inputs_of, is_kept=choice is not None)
        if choice is not None:
            picture, kept[slug] = kept_step(context, state, slug, asset, choice, picture)
        picture = _with_published(context, state, slug, picture, published.get(key))
        after = [] if choice or state.lacks_stack or slug in state.faults else [state.prompts[slug], state.stack]
        pictures[slug] = picture if picture.status == "waiting" else trace(picture, after) if after else picture
    return replace(state, pictures=pictures, kept=kept)


def without_base_model(context: Context, state: WorldState, reasons: tuple[str, ...]) -> WorldState:
    """Of a tier that nothing can be rendered of: its pictures, blocked but for those that a person keeps."""
    published = context.store.read_published(state.world.genre)
    pictures: dict[str, Step] = {}
    kept: dict[str, KeptPicture] = {}
    for subject in state.subjects:
        slug = subject.slug
        asset, key = (
            world_asset(state.world, state.names.images, slug),
            context.picture_key(state.world, state.tier, slug),
        )
        pictures[slug] = Step(asset, "picture", "blocked", reasons=reasons)
        if choice := state.world.choices.kept.get((state.tier, slug)):
            step, kept[slug] = kept_step(context, state, slug, asset, choice, pictures[slug])
            pictures[slug] = _with_published(context, state, slug, step, published.get(key))
    return replace(state, prompts={}, texts={}, faults={}, pictures=pictures, kept=kept)


def _rendered(
    context: Context,
    state: WorldState,
    subject: Subject,
    asset: str,
    inputs_of: Callable[[Subject, Prompt], Inputs],
    *,
    is_kept: bool,
) -> Step:
    """How a picture stands as it is rendered. One that is kept stands otherwise: only its inputs are told then."""
    slug = subject.slug
    if slug in state.faults:
        return Step(asset, "picture", "blocked", reasons=state.faults[slug])
    if state.lacks_stack:
        return follow([state.stack], asset, "picture")
    inputs = inputs_of(subject, state.texts[slug])
    return (
        Step(asset, "picture", "stale", inputs) if is_kept else unkept(context, context.step(asset, "picture", inputs))
    )


def inputs_by_subject(context: Context, state: WorldState) -> Callable[[Subject, Prompt], Inputs]:
    """What a picture of a tier is made from, of a subject and its text. Raises BaseModelError, ContentError."""
    base_model, versions = context.base_model_of_world(state.world), state.versions
    weights, settings = context.weights_hash(base_model), context.render_settings(base_model, state.tier)
    renderer = context.engines.renderer_versions
    return lambda subject, text: picture_inputs(
        text, versions, base_model, weights, subject.own.over(settings), renderer
    )


def _with_published(context: Context, state: WorldState, slug: str, step: Step, published: str | None) -> Step:
    """A picture is fresh only while the game has it too, and waits while something of a person's is in its place.

    `published` is the fingerprint of what the game was given.
    """
    if step.status == "blocked":
        return step
    path = _place(context, state, slug)
    if step.record is not None and holds(context, path, step.record):
        if step.status != "fresh" or published == step.fingerprint:
            return step
    elif theirs := _why_theirs(context, state, slug, step, published):
        return replace(step, status="waiting", reasons=(theirs, *step.reasons), because=None)
    elif step.status != "fresh":
        return step
    problem = "is another picture" if path.is_file() else "is gone"
    return replace(step, status="stale", reasons=(f"{context.data.relative(path)} {problem}",))


def _place(context: Context, state: WorldState, slug: str) -> Path:
    return context.picture_place(state.world, state.tier, slug)


def holds(context: Context, path: Path, record: Record) -> bool:
    """True where the file is the record's picture, byte for byte."""
    stored = record.objects["picture"]
    try:
        found = path.lstat()
        is_as_large = stat.S_ISREG(found.st_mode) and found.st_size == stored.byte_count
        return is_as_large and context.files.hash_of(path) == stored.sha256
    except OSError:
        return False


def _why_theirs(context: Context, state: WorldState, slug: str, step: Step, published: str | None) -> str | None:
    """Why nothing may be written where the game looks, and the way out; None where nothing of a person's is there."""
    path = _place(context, state, slug)
    store, made = context.store, [step.fingerprint, *([published] if published else [])]
    known = [record for record in (store.read_known("picture", made_of) for made_of in made) if record is not None]
    if is_kept_file(context, state, slug, path):
        return None
    problem = why_no_picture_of_ours(context, path, state.tier, slug, {record.data_version for record in known})
    # put there from the store before anybody noticed
    if problem is None or any(store.is_same_damage(record.objects["picture"], path) for record in known):
        return None
    return f"{context.data.relative(path)} {problem}; it stays. {_ways(state, slug, path)}"


def _ways(state: WorldState, slug: str, path: Path) -> str:
    """What a person can do about a file of theirs at a picture's place."""
    if path.is_symlink() or not path.is_file():
        return "To have a picture put here, move that away"
    name, tier = f"{state.world.key}/{slug}", state.tier
    adopt = command("adopt", name, "--by", "WHO", "--tier", tier)
    lock = command("lock", name, "--by", "WHO", "--tier", tier)
    away = command("run", "--replace", name, "--tier", tier)
    return f"Keep it with {adopt}, or as it is with {lock}; or archive it with {away}"


def _make(context: Context, state: WorldState, slugs: Collection[str]) -> Iterator[Made | Failed]:
    """Render what the store has not and publish all, one by one; a subject that fails hinders no other.

    What failed is tried once more after the others, then given up with its reason. KeyboardInterrupt passes
    through; pictures finished before it stay.
    """
    failed: list[Subject] = []
    wanted = [subject for subject in state.subjects if subject.slug in slugs]
    with progress_of(f"rendering {state.key}", len(wanted)) as progress:
        for subject in wanted:
            outcome = _make_picture(context, state, subject)
            if isinstance(outcome, Failed) and outcome.may_pass:
                failed.append(subject)
            else:
                progress.advance()
                yield outcome
        for subject in failed:
            outcome = _make_picture(context, state, subject)
            progress.advance()
            yield outcome


def _make_picture(context: Context, state: WorldState, subject: Subject) -> Made | Failed:
    step = state.pictures[subject.slug]
    if step.status == "waiting":
        return Failed(subject, "; ".join(step.reasons), may_pass=False, waits=True)
    if step.status in ("pending", "blocked") and step.record is None:
        return Failed(subject, "; ".join(problems_of(step)), may_pass=False)
    try:
        # looked at again: what was read since then may have been found damaged
        was = step.record if step.record and not context.store.why_missing(step.record.objects["picture"]) else None
        record = was or _new_record(context, state, subject, step)
        if theirs := _publish(context, state, subject, step, record):
            return Failed(subject, theirs, may_pass=False, waits=True)
    except SqPipelineError as error:
        return Failed(subject, "; ".join(map(str, error.faults)).removeprefix(f"{step.asset}: "))
    except Exception as error:  # an engine's own, such as memory that ran out: the neighbours may still be made
        reason = (str(error) or "no message").splitlines()[0]
        return Failed(subject, f"{type(error).__name__}: {reason}", trace=traceback.format_exc())
    return Made(record, is_made=was is None and subject.slug not in state.kept, subject=subject)


def _new_record(context: Context, state: WorldState, subject: Subject, step: Step) -> Record:
    if subject.slug in state.kept:
        return context.keep(step, take_kept(context, state, subject.slug, step))
    with told_as_rendering(context.data, step.asset):
        return context.keep(step, render_picture(context, state, subject, step))


def _publish(context: Context, state: WorldState, subject: Subject, step: Step, record: Record) -> str | None:
    """Put the picture where the game looks, unless it is there; why not, where something of a person's is."""
    path, key = _place(context, state, subject.slug), context.picture_key(state.world, state.tier, subject.slug)
    if not holds(context, path, record):
        # looked at again: much time may have passed since the plan
        published = context.store.read_published(state.world.genre).get(key)
        if theirs := _why_theirs(context, state, subject.slug, step, published):
            return theirs
        if path.exists() and _is_nowhere_else(context, path, record):
            kept = archive_version(path, context.data.genre_root(state.world.genre) / "images/archive")
            context.tell(f"{context.data.relative(path)}: kept as {context.data.relative(kept)}")
        write_bytes(path, context.store.read_bytes(record.objects["picture"]))
    # worlds of a genre share the folder, and a subject may move from one to another
    context.store.write_published(state.world.genre, key, record.fingerprint)
    context.reuse(step, record)
    return None


def _is_nowhere_else(context: Context, path: Path, record: Record) -> bool:
    """True for a picture of ours that the store has lost: it is the last of its kind."""
    return context.store.find(hash_file(path), path.suffix) is None and pixels_of(context, path) != record.data_version


def render_picture(context: Context, state: WorldState, subject: Subject, step: Step) -> Record:
    """Render what `step` says, with the state's text of the subject; nothing is entered or published."""
    base_model, text = context.base_model_of_world(state.world), state.texts[subject.slug]
    settings = subject.own.over(context.render_settings(base_model, state.tier))
    adapters, genre = context.catalog.adapters, state.world.genre
    uses = tuple(
        AdapterUse(
            context.adapter_file(entry.record.objects["adapter"]),
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
    provenance = write_provenance(context, state, subject, step, image)
    png = encode_png(image.pixels, provenance.as_chunks(step.inputs))
    info = {
        "stack": provenance.stack(),
        "elapsed_s": round(image.elapsed_s, 3),
        "dropped": list(text.dropped),
        "rendered_by": image.rendered_by,
        "provenance": provenance.model_dump(mode="json"),
    }
    return step.as_record(provenance.pixels, {"picture": context.store.put_bytes(png, ".png")}, info)


ASSET = WorldAsset(
    part="images",
    upstream=("stack", "prompts"),
    sources=("yaml", "visual_style", "choices", "base_model", "sq_yaml"),
    enter_status=_enter_status,
    steps=lambda state: state.pictures,
    make=_make,
    description=lambda _, tier: (
        f"A picture of each {TIER_NAMES[tier].noun}. Select partitions and materialize to bring them up to date."
    ),
    figures=picture_figures,
    shows=(ShownPicture("picture", "", 256),),
    tags=("mflux", "image"),
    adapters=lambda record: [entry["name"] for entry in record.info["stack"]],
    another="for another picture write `seed: +1` into its entry, or change its prompt",
    is_by_subject=True,
    uses_gpu=lambda _world, _tier: True,
)
