"""Is a take still what a person looked at? Not here: rendering takes (`pipeline.worlds.takes`)."""

from dataclasses import replace

from sq_pipeline.common.errors import Fault, PictureError, SqPipelineError
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import inputs_said
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.worlds.images import inputs_by_subject
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.prompts import text_of
from sq_pipeline.pipeline.worlds.world_status import world_state_of


def why_another_take(context: Context, picture: NamedPicture, take: int) -> Fault | None:
    """What changed since a take was put where a person looks; None where it would be the same, or is not there."""
    folder = context.data.takes_root / picture.world.genre / picture.world.name / picture.tier / picture.subject.slug
    path = folder / f"take-{take}.png"
    if not path.is_file():
        return None
    try:
        made_of = inputs_said(read_png(path, "sq.").texts, path.name)
    except PictureError:
        made_of = None
    file = context.data.relative(path)
    adopt = command("adopt", picture.key, path, "--by", "WHO", "--tier", picture.tier)
    if made_of is None:
        return Fault(file, "", "was changed since it was rendered", f"to have it as it is: {adopt}")
    try:
        changes = explain_change(made_of, _inputs_of(context, picture, take))
    except SqPipelineError:
        return None  # what keeps it from being made is told by the plan
    if not changes:
        return None
    problem = f"was made from something else than it would be now ({'; '.join(changes)})"
    again = command("takes", picture.key, "--from", str(take), "--count", "1", "--tier", picture.tier)
    return Fault(file, "", problem, f"look at it anew: {again}; or have it as it is: {adopt}")


def _inputs_of(context: Context, picture: NamedPicture, take: int) -> dict[str, object]:
    state = world_state_of(context, picture.world, picture.tier)
    subject = replace(picture.subject, own=replace(picture.subject.own, seed=f"+{take}", is_draft=False))
    counter = context.token_counter(context.base_model_of_world(state.world))
    return inputs_by_subject(context, state)(subject, text_of(context, state.world, state.tier, subject, counter))
