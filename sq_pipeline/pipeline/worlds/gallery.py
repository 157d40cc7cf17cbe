"""The asset `gallery`: one sheet of a world's pictures of a tier."""

from sq_pipeline.common.errors import Fault, RenderError
from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import World
from sq_pipeline.pictures.sheets import draw_gallery
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_status import _gallery_inputs, world_asset, world_state_of


def make_gallery(context: Context, world: World, tier: Tier) -> tuple[Record, bool]:
    """Draw the sheet of the pictures that are there, unless the store has it; raises RenderError without pictures."""
    state = world_state_of(context, world, tier)
    step = context.step(world_asset(world, state.names.gallery), "gallery", _gallery_inputs(state))
    if step.record is not None:
        return context.reuse(step, step.record), False
    names = {subject.slug: subject.name for subject in state.subjects}
    pictures = [
        (names[slug], context.store.path_of(picture.record.objects["picture"]).read_bytes())
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
        objects={"sheet": context.store.put_bytes(draw_gallery(pictures), ".png")},
        info={"pictures": len(pictures)},
    )
    return context.keep(step, record), True
