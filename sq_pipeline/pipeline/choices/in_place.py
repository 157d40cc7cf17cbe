"""Putting a chosen picture in place at once, where nothing is to be rendered for it. Otherwise the next run does it."""

from collections.abc import Callable, Sequence

from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock, is_run_lock_free
from sq_pipeline.pipeline.context import Context, Engines
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture, find_picture
from sq_pipeline.pipeline.worlds.world_asset import Failed
from sq_pipeline.pipeline.worlds.world_status import world_state_of

Say = Callable[[str], None]


def place_now(data: DataDir, engines: Engines, name: str, tier: str | None) -> str:
    """After a choice: bring that picture up to date, if that takes no rendering and no run is under way; how it stands.

    Of one that is gone nothing is done.
    """
    if not is_run_lock_free(data):
        return f"a run is under way; the next one puts {name} in place"
    with hold_run_lock(data, lambda _line: None):
        context = Context(data, engines, looks_ahead=False)
        try:
            picture = find_picture(context, name, tier)
        except SelectionError as error:
            return "; ".join(fault.problem for fault in error.faults)
        return put_in_place(context, picture)


def put_in_place(context: Context, picture: NamedPicture) -> str:
    """Bring one picture up to date, if that takes no rendering; a line on how it stands then.

    `context` has read the choices as they are now, and who calls holds the run lock.
    """
    world, tier, slug = picture.world, picture.tier, picture.subject.slug
    if picture.subject.own.is_draft:
        return f"{picture.key} is a draft: nothing is put in its place until it is none"
    step = world_state_of(context, world, tier).pictures.get(slug)
    if step is None:
        return f"{picture.key} is not shown"
    if step.status == "stale" and (step.record is not None or "kept" in step.inputs):
        failed = [
            outcome.reason
            for part in ("prompts", "images")
            for outcome in make_world_asset(context, world, tier, part, [slug])
            if isinstance(outcome, Failed)
        ]
        gallery = world_state_of(context, world, tier).gallery
        if not failed and gallery is not None and gallery.status == "stale":
            for _ in make_world_asset(context, world, tier, "gallery"):
                pass
        step = world_state_of(context, world, tier).pictures[slug]
    path = context.data.relative(context.picture_place(world, tier, slug))
    match step.status:
        case "fresh":
            return f"{path} is that picture now"
        case "stale" | "pending":
            return f"{path} is to be rendered: {command('run', '--world', world.key)}"
        case _:
            return f"{path}: {'; '.join(step.reasons)}"


def put_all_away(data: DataDir, engines: Engines, names: Sequence[str], tier: str | None, say: Say) -> None:
    """Archive the files of a person that stand at these pictures' places: all of them, or none where one is wrong.

    Raises SelectionError with every fault.
    """
    with hold_run_lock(data, say):
        context = Context(data, engines, looks_ahead=False)
        faults: list[Fault] = []
        found: list[NamedPicture] = []
        for name in names:
            try:
                found.append(_theirs(context, find_picture(context, name, tier)))
            except SelectionError as error:
                faults += error.faults
        if faults:
            raise SelectionError(faults)
        for picture in found:
            say(put_away(context, picture))


def _theirs(context: Context, picture: NamedPicture) -> NamedPicture:
    step = world_state_of(context, picture.world, picture.tier).pictures.get(picture.subject.slug)
    path = context.picture_place(picture.world, picture.tier, picture.subject.slug)
    if step is None or step.status != "waiting":
        problem = f"at the place of {picture.key} stands nothing of a person's"
        raise SelectionError(Fault("", "--replace", problem, f"leave it out: {command('run')} brings it up to date"))
    if path.is_symlink() or not path.is_file():
        raise SelectionError(Fault("", "--replace", f"{context.data.relative(path)} is no plain file", "move it away"))
    return picture


def put_away(context: Context, picture: NamedPicture) -> str:
    """Archive the file at a picture's place, so that one can be rendered; says where it is. Raises StorageError."""
    path = context.picture_place(picture.world, picture.tier, picture.subject.slug)
    kept = archive_version(path, context.data.genre_root(picture.world.genre) / "images/archive")
    try:
        path.unlink()
    except OSError as error:
        raise disk_error(path, error) from error
    return f"{context.data.relative(path)}: kept as {context.data.relative(kept)}"
