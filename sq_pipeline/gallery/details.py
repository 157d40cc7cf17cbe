"""All about one picture: why it is as it is, what it is asked with, what made it, its versions and takes.

Not here: the grid (`groups`), finding versions (`pipeline.choices.history`).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint, short
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Choice, Subject, World
from sq_pipeline.gallery.groups import find_shown, picture_id
from sq_pipeline.gallery.picture_files import PictureFiles
from sq_pipeline.gallery.states import DRAFT, state_of
from sq_pipeline.pictures.applied import token_counts
from sq_pipeline.pipeline.chain import chain_of
from sq_pipeline.pipeline.choices.history import PictureVersion, file_of, picture_history
from sq_pipeline.pipeline.choices.looked_at import takes_of_before
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.prompts import text_of
from sq_pipeline.pipeline.worlds.take_files import take_files
from sq_pipeline.pipeline.worlds.world_state import WorldState

_INPUTS_SHOWN = ("base_model", "num_inference_steps", "guidance")


def details_of(context: Context, state: WorldState, slug: str, files: PictureFiles) -> dict[str, Any] | None:
    """What the picture's own panel shows; None where nothing of that slug is expected."""
    world, tier = state.world, state.tier
    subjects = {subject.slug: subject for subject in (*state.subjects, *world.drafts.get(tier, ()))}
    subject = subjects.get(slug)
    if subject is None:
        return None
    step = state.pictures.get(slug)
    shown, record = find_shown(context, world, tier, slug, step, files)
    place = context.picture_place(world, tier, slug)
    kept, inputs = state.kept.get(slug), _inputs_now(state, slug)
    found = {
        "id": picture_id(world, tier, slug),
        "group": picture_id(world, tier, ""),
        "genre": world.genre,
        "world": world.name,
        "tier": tier,
        "slug": slug,
        "name": subject.name,
        "region": subject.region or "",
        "kind": subject.kind or "",
        "place": context.data.relative(place),
        "written_in": f"{subject.file}: {subject.where}" if subject.where else subject.file,
        "state": DRAFT if step is None else state_of(context, step, kept.choice if kept is not None else None),
        "choices": [_told(choice) for choice in _choices_of(world, tier, slug)],
        "otherwise": [] if kept is None else list(kept.otherwise),
        "reasons": [] if step is None else list(step.reasons),
        "chain": [] if step is None else list(chain_of(step)),
        "picture": None if shown is None else shown.as_json(),
        "prompt": _prompt(context, world, tier, subject, state),
        "stack": [{"name": entry.name, "lora_scale": entry.lora_scale} for entry in state.entries],
        "stack_reasons": [] if state.stack.status == "fresh" else list(state.stack.reasons),
        "settings": _settings(context, world, tier, subject, inputs),
        "made": None if record is None else _made(record),
    }
    picture = NamedPicture(world, tier, subject)
    return {**found, "versions": _versions(context, picture, inputs, files), "takes": _takes(context, picture, files)}


def _inputs_now(state: WorldState, slug: str) -> Inputs:
    """What it would be rendered from now, kept or not; empty where that is not known."""
    step, kept = state.pictures.get(slug), state.kept.get(slug)
    return kept.inputs if kept is not None else {} if step is None else step.inputs


def _choices_of(world: World, tier: Tier, slug: str) -> list[Choice]:
    """What stands above first."""
    found = (choices.get((tier, slug)) for choices in (world.choices.kept, world.choices.picks))
    return [choice for choice in found if choice is not None]


def _told(choice: Choice) -> dict[str, Any]:
    return {
        "act": choice.act,
        "by": choice.by,
        "at": choice.at,
        "why": choice.why,
        "take": choice.take,
        "told": choice.describe,
    }


def _prompt(context: Context, world: World, tier: Tier, subject: Subject, state: WorldState) -> dict[str, Any]:
    if faults := state.faults.get(subject.slug):
        return {"faults": list(faults)}
    try:
        base_model = context.base_model_of_world(world)
        text: Prompt = state.texts.get(subject.slug) or text_of(
            context, world, tier, subject, context.token_counter(base_model)
        )
    except SqPipelineError as error:
        return {"faults": list(map(str, error.faults))}
    return {
        "positive": text.positive_prompt,
        "negative": text.negative_prompt if base_model.reads_negative_prompt else "",
        "seed": text.seed,
        "own_seed": subject.own.seed,
        "tokens": [count.model_dump(mode="json") for count in token_counts(text.counts)],
        "dropped": list(text.dropped),
        "faults": [],
    }


def _settings(context: Context, world: World, tier: Tier, subject: Subject, inputs: Inputs) -> dict[str, Any]:
    """What it would be rendered with now; nothing where that is not known."""
    if inputs:
        width, height = inputs["size_px"]
        return {"size_px": f"{width} × {height}", **{name: inputs.get(name) for name in _INPUTS_SHOWN}}
    with suppress(SqPipelineError):
        base_model = context.base_model_of_world(world)
        settings = subject.own.over(context.render_settings(base_model, tier))
        return {
            "size_px": f"{settings.size.width_px} × {settings.size.height_px}",
            "base_model": base_model.name,
            "num_inference_steps": settings.num_inference_steps,
            "guidance": settings.guidance,
        }
    return {}


def _made(record: Record) -> dict[str, Any]:
    """What made the picture that is shown; of one that a person keeps, what that was rendered from or painted over."""
    said: Mapping[str, Any] = record.info.get("provenance", {})
    inputs: Inputs = (record.info.get("made_of") or {}) if "kept" in record.inputs else record.inputs
    return {
        "sha256": record.objects["picture"].sha256,
        "fingerprint": record.fingerprint,
        "pixels": record.data_version,
        "seed": inputs.get("seed"),
        "elapsed_s": record.info.get("elapsed_s"),
        "rendered_by": record.info.get("rendered_by"),
        "base_model": inputs.get("base_model"),
        "base_weights": inputs.get("base_weights"),
        "engine": said.get("engine", {}),
        "chip": said.get("chip"),
        "adapters": [
            {key: adapter.get(key) for key in ("name", "lora_scale", "data_version", "keys_matched", "keys_total")}
            for adapter in said.get("adapters", ())
        ],
    }


def _versions(context: Context, picture: NamedPicture, inputs: Inputs, files: PictureFiles) -> list[dict[str, Any]]:
    """All of which there is a file, first what the game has, then the latest first."""
    record = context.store.read_known("picture", fingerprint(inputs)) if inputs else None
    now = "" if record is None or "picture" not in record.objects else record.objects["picture"].sha256
    archive = context.data.relative(context.data.genre_root(picture.world.genre) / "images/archive")
    return [
        {**_version(version, inputs, now, archive), **shown.as_json()}
        for version in sorted(picture_history(context, picture), key=lambda version: not version.is_in_place)
        for path in (file_of(context, version),)
        if path is not None and (shown := files.enter_file(context, path)) is not None
    ]


def _version(version: PictureVersion, inputs: Inputs, now: str, archive: str) -> dict[str, Any]:
    """`now`: the hash of the file that `inputs` made, if they did; `archive`: the folder of archived files."""
    made_of = version.made_of
    labels = {
        "in the game": version.is_in_place,
        "kept": version.is_kept,
        "as it would be made now": version.sha256 == now,
        "archived": (version.path or "").startswith(f"{archive}/"),
        "by hand": made_of is None,
    }
    return {
        "version": short(version.sha256, 64),
        "labels": [label for label, is_so in labels.items() if is_so],
        "at": version.at,
        "seed": None if made_of is None else made_of.get("seed"),
        "differs": explain_change(made_of, inputs) if made_of is not None and inputs else [],
    }


def _takes(context: Context, picture: NamedPicture, files: PictureFiles) -> list[dict[str, Any]]:
    """`before`: what changed since, of one that `pick` refuses."""
    there = take_files(context, picture.world, picture.tier, picture.subject.slug)
    before = takes_of_before(context, picture, [take.number for take in there])
    return [
        {"number": take.number, "seed": take.seed, "before": before.get(take.number, []), **shown.as_json()}
        for take in there
        if (shown := files.enter_file(context, take.path)) is not None
    ]
