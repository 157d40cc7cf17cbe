"""All about one picture: why it is as it is, what it is asked with, what made it, its versions and takes.

Not here: the grid (`groups`), finding versions (`pipeline.worlds.picture_versions`).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Subject, World
from sq_pipeline.gallery.groups import find_shown, picture_id
from sq_pipeline.gallery.picture_files import PictureFiles, ShownFile
from sq_pipeline.gallery.states import DRAFT, state_of
from sq_pipeline.pictures.applied import token_counts
from sq_pipeline.pipeline.chain import chain_of
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.picture_versions import PictureVersion, picture_versions, take_files
from sq_pipeline.pipeline.worlds.prompts import text_of
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
        "state": DRAFT if step is None else state_of(context, step),
        "reasons": [] if step is None else list(step.reasons),
        "chain": [] if step is None else list(chain_of(step)),
        "picture": None if shown is None else shown.as_json(),
        "prompt": _prompt(context, world, tier, subject, state),
        "stack": [{"name": entry.name, "lora_scale": entry.lora_scale} for entry in state.entries],
        "stack_reasons": [] if state.stack.status == "fresh" else list(state.stack.reasons),
        "settings": _settings(context, world, tier, subject, step),
        "made": None if record is None else _made(record),
    }
    return {**found, **_all_versions(context, world, tier, slug, step, files)}


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


def _settings(context: Context, world: World, tier: Tier, subject: Subject, step: Step | None) -> dict[str, Any]:
    """What it would be rendered with now; nothing where that is not known."""
    if step is not None and step.inputs:
        width, height = step.inputs["size_px"]
        return {"size_px": f"{width} × {height}", **{name: step.inputs.get(name) for name in _INPUTS_SHOWN}}
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
    """What made the picture that is shown."""
    said: Mapping[str, Any] = record.info.get("provenance", {})
    return {
        "sha256": record.objects["picture"].sha256,
        "fingerprint": record.fingerprint,
        "pixels": record.data_version,
        "seed": record.inputs.get("seed"),
        "elapsed_s": record.info.get("elapsed_s"),
        "rendered_by": record.info.get("rendered_by"),
        "base_model": record.inputs.get("base_model"),
        "base_weights": record.inputs.get("base_weights"),
        "engine": said.get("engine", {}),
        "chip": said.get("chip"),
        "adapters": [
            {key: adapter.get(key) for key in ("name", "lora_scale", "data_version", "keys_matched", "keys_total")}
            for adapter in said.get("adapters", ())
        ],
    }


def _all_versions(
    context: Context, world: World, tier: Tier, slug: str, step: Step | None, files: PictureFiles
) -> dict[str, Any]:
    versions = [
        {**_version(version, step, now), **shown.as_json()}
        for version in picture_versions(context, world, tier, slug)
        for now in (None if step is None else step.record,)
        if (shown := _enter(context, version, files)) is not None
    ]
    takes = [
        {"number": take.number, "seed": take.seed, **shown.as_json()}
        for take in take_files(context, world, tier, slug)
        if (shown := files.enter_file(context, take.path)) is not None
    ]
    return {"versions": versions, "takes": takes}


def _enter(context: Context, version: PictureVersion, files: PictureFiles) -> ShownFile | None:
    return files.enter_file(context, version.path)


def _version(version: PictureVersion, step: Step | None, now: Record | None) -> dict[str, Any]:
    record = version.record
    labels = {
        "in the game": version.is_in_game,
        "as it would be made now": now is not None and record is not None and now.fingerprint == record.fingerprint,
        "archived": version.is_archived,
    }
    differs = explain_change(record.inputs, step.inputs) if record is not None and step and step.inputs else []
    return {
        "labels": [label for label, is_so in labels.items() if is_so],
        "made_at_s": version.made_at_ns // 1_000_000_000,
        "seed": None if record is None else record.inputs.get("seed"),
        "fingerprint": "" if record is None else record.fingerprint,
        "differs": differs,
    }
