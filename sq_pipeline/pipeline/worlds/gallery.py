"""The asset `gallery`: one sheet of a world's pictures of a tier."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.pictures.sheets import draw_gallery
from sq_pipeline.pipeline.chain import follow, is_waiting
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.shown import ShownPicture
from sq_pipeline.pipeline.worlds.world_asset import Made, WorldAsset
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset


def _enter_status(context: Context, state: WorldState) -> WorldState:
    asset = world_asset(state.world, state.names.gallery)
    if not state.subjects:
        return state
    if state.lacks_stack and state.kept:  # of what is kept alone no sheet is made
        gallery = follow([state.stack], asset, "gallery")
    elif to_do := [step for step in state.pictures.values() if step.is_to_do and step.record is None]:
        gallery = follow(to_do, asset, "gallery")
    elif not any(step.record for step in state.pictures.values()) and (
        waiting := [step for step in state.pictures.values() if step.status == "waiting"]
    ):
        gallery = replace(follow(waiting, asset, "gallery"), status="waiting")
    elif not any(step.record for step in state.pictures.values()):
        gallery = follow(sorted(state.pictures.values(), key=is_waiting), asset, "gallery")
    else:
        gallery = context.step(asset, "gallery", _inputs(state))
    return replace(state, gallery=gallery)


def _inputs(state: WorldState) -> dict[str, Any]:
    names = {subject.slug: subject.name for subject in state.subjects}
    made = {slug: step.record for slug, step in state.pictures.items() if step.record is not None}
    return {"pictures": [[names[slug], record.data_version] for slug, record in made.items()], "gallery": 1}


def _make(context: Context, state: WorldState, _slugs: Collection[str]) -> list[Made]:
    """Draw the sheet of the pictures that are there, unless the store has it; raises RenderError without pictures."""
    step = context.step(world_asset(state.world, state.names.gallery), "gallery", _inputs(state))
    if step.record is not None:
        return [Made(context.reuse(step, step.record), is_made=False)]
    names = {subject.slug: subject.name for subject in state.subjects}
    pictures = [
        (names[slug], context.store.read_bytes(picture.record.objects["picture"]))
        for slug, picture in state.pictures.items()
        if picture.record is not None
    ]
    if not pictures:
        raise RenderError(Fault(step.asset, "", f"there are no pictures of {state.key}", "render them first"))
    objects = {"sheet": context.store.put_bytes(draw_gallery(pictures), ".png")}
    record = step.as_record(fingerprint(step.inputs), objects, {"pictures": len(pictures)})
    return [Made(context.keep(step, record), is_made=True)]


ASSET = WorldAsset(
    part="gallery",
    upstream=("images",),
    sources=("yaml",),
    enter_status=_enter_status,
    steps=lambda state: {} if state.gallery is None else {"": state.gallery},
    make=_make,
    description=lambda _, tier: f"All {tier} pictures of this world on one sheet.",
    figures=lambda record: {"pictures": record.info["pictures"]},
    shows=(ShownPicture("sheet", "", 900),),
    tags=("image",),
)
