"""Is a take still what a person looked at? Not here: rendering takes (`pipeline.worlds.takes`)."""

from sq_pipeline.common.errors import Fault, PictureError, SqPipelineError
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import inputs_said
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.takes import take_inputs


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
        changes = explain_change(made_of, take_inputs(context, picture, take))
    except SqPipelineError:
        return None  # what keeps it from being made is told by the plan
    if not changes:
        return None
    problem = f"was made from something else than it would be now ({'; '.join(changes)})"
    again = command("takes", picture.key, "--from", str(take), "--count", "1", "--tier", picture.tier)
    return Fault(file, "", problem, f"look at it anew: {again}; or have it as it is: {adopt}")
