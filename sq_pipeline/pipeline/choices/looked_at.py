"""Is a take still what a person looked at? Not here: rendering takes (`pipeline.worlds.takes`)."""

from collections.abc import Sequence
from pathlib import Path

from sq_pipeline.common.errors import Fault, PictureError, SqPipelineError
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import inputs_said
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.takes import takes_inputs

_PAINTED_OVER = "was changed since it was rendered"


def takes_of_before(context: Context, picture: NamedPicture, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Those of these takes that would be something else now, and what changed since they were put where a person looks.

    What is not there is none of them, nor is any where nobody knows what they would be now: the plan tells why.
    """
    paths = {number: path for number in numbers if (path := _path_of(context, picture, number)).is_file()}
    try:
        now = takes_inputs(context, picture, list(paths))
    except SqPipelineError:
        now = {}
    return {number: changes for number, path in paths.items() if (changes := _changes(path, now.get(number)))}


def why_another_take(context: Context, picture: NamedPicture, take: int) -> Fault | None:
    """What changed since a take was put where a person looks; None where it would be the same, or is not there."""
    changes = takes_of_before(context, picture, [take]).get(take)
    if changes is None:
        return None
    path = _path_of(context, picture, take)
    file = context.data.relative(path)
    adopt = command("adopt", picture.key, path, "--by", "WHO", "--tier", picture.tier)
    if changes == [_PAINTED_OVER]:
        return Fault(file, "", _PAINTED_OVER, f"to have it as it is: {adopt}")
    problem = f"was made from something else than it would be now ({'; '.join(changes)})"
    again = command("takes", picture.key, "--from", str(take), "--count", "1", "--tier", picture.tier)
    return Fault(file, "", problem, f"look at it anew: {again}; or have it as it is: {adopt}")


def _path_of(context: Context, picture: NamedPicture, take: int) -> Path:
    world, slug = picture.world, picture.subject.slug
    return context.data.takes_root / world.genre / world.name / picture.tier / slug / f"take-{take}.png"


def _changes(path: Path, now: Inputs | None) -> list[str]:
    try:
        made_of = inputs_said(read_png(path, "sq.").texts, path.name)
    except PictureError:
        made_of = None
    if made_of is None:
        return [_PAINTED_OVER]
    return [] if now is None else explain_change(made_of, now)
