"""Pictures that a person keeps, locked or adopted: the file with that hash is the picture, whatever else would be made.

Its bytes are in `chosen/` beside the choices, where no lost store and no other run can reach them. Here: how such a
picture stands, and putting it into the store. Not here: choosing (`pipeline.choices`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sq_pipeline.common.archive import archive_place
from sq_pipeline.common.atomic import disk_error, write_bytes
from sq_pipeline.common.errors import Fault, PictureError, RenderError
from sq_pipeline.common.fingerprints import hash_bytes, short
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import Choice
from sq_pipeline.pictures.png_file import PngFile, parse_png
from sq_pipeline.pictures.provenance import inputs_said
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.inputs import kept_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_state import KeptPicture, WorldState


def kept_step(
    context: Context, state: WorldState, slug: str, asset: str, choice: Choice, otherwise: Step
) -> tuple[Step, KeptPicture]:
    """How a picture stands that is kept, and what would become of it otherwise."""
    step = context.step(asset, "picture", kept_inputs(choice.file_sha256))
    if step.record is None:
        reasons = (f"{choice.describe}",)
        if next(_copies(context, state, slug, choice.file_sha256), None) is None:
            folder = context.data.relative(context.data.chosen_pictures(state.world.genre))
            way = command("unlock", f"{state.world.key}/{slug}", "--tier", state.tier)
            lost = f"its file ({short(choice.file_sha256)}) is gone: put it back into {folder}, or let it go with {way}"
            step = replace(step, status="blocked", reasons=(*reasons, lost))
        else:
            step = replace(step, reasons=reasons)
    made_of = None if step.record is None else step.record.info.get("made_of")
    return step, KeptPicture(choice, _otherwise(made_of, otherwise), otherwise.inputs)


def unkept(context: Context, step: Step) -> Step:
    """A picture that was kept and is rendered again says so, and what changed since it was rendered."""
    if step.record is not None:
        return step
    before = context.store.read_current(step.asset)
    if before is None or "kept" not in before[1]:
        return step
    record = context.store.read_known("picture", before[0])
    made_of = record and record.info.get("made_of")
    changes = explain_change(made_of, step.inputs) if made_of else []
    return replace(step, reasons=("is no longer kept", *changes))


def _otherwise(made_of: Mapping[str, Any] | None, step: Step) -> tuple[str, ...]:
    """Why it would be made again, were it not kept; empty where it would not, or that cannot be told."""
    if step.status in ("blocked", "pending") or not step.inputs:
        return step.reasons
    return () if made_of is None else tuple(explain_change(made_of, step.inputs))


def is_kept_file(context: Context, state: WorldState, slug: str, path: Path) -> bool:
    """True where the file at a picture's place is the very one that is kept."""
    kept = state.world.choices.kept.get((state.tier, slug))
    try:
        return kept is not None and not path.is_symlink() and context.files.hash_of(path) == kept.file_sha256
    except OSError:
        return False


def take_kept(context: Context, state: WorldState, slug: str, step: Step) -> Record:
    """The record of a picture that is kept, from wherever its file is; that is in `chosen/` again afterwards.

    Raises RenderError where it is nowhere, StorageError where the disk refuses.
    """
    wanted = step.inputs["kept"]
    for path in _copies(context, state, slug, wanted):
        content = path.read_bytes()
        if hash_bytes(content) != wanted:
            continue
        put_chosen(context, state.world.genre, slug, content)
        png = parse_png(content, str(path), "sq.")
        objects = {"picture": context.store.put_bytes(content, ".png")}
        return step.as_record(version_of(png), objects, info_of(state, slug, png))
    raise RenderError(Fault(step.asset, "", "; ".join(step.reasons), "put its file back"))


def put_chosen(context: Context, genre: str, slug: str, content: bytes) -> Path:
    """Keep a picture in `chosen/`. Raises StorageError."""
    folder = context.data.chosen_pictures(genre)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from error
    path = archive_place(folder / f"{slug}.png", folder, hash_bytes(content))
    if not path.exists():
        write_bytes(path, content)
    return path


def _copies(context: Context, state: WorldState, slug: str, wanted: str) -> Iterator[Path]:
    """Where the file with this hash is."""
    folder = context.data.chosen_pictures(state.world.genre)
    found = sorted(folder.glob("*.png")) if folder.is_dir() else []
    # named by its hash first; renamed, it is found all the same
    likely = sorted(found, key=lambda path: short(wanted, 8) not in path.name)
    for path in (*likely, context.picture_place(state.world, state.tier, slug)):
        try:
            if path.is_file() and not path.is_symlink() and context.files.hash_of(path) == wanted:
                yield path
        except OSError:
            continue
    if (stored := context.store.find(wanted, ".png")) is not None:
        yield context.store.lend(stored)


def version_of(png: PngFile) -> str:
    """The data version of a picture: the hash of its pixels; of a kind that is not ours, of the whole file."""
    return hash_bytes(png.content if png.pixels is None else png.pixels.tobytes())


def info_of(state: WorldState, slug: str, png: PngFile) -> dict[str, Any]:
    """What a record of a kept picture tells. `made_of`: the inputs it was rendered from, or painted over."""
    try:
        made_of = inputs_said(png.texts, slug)
    except PictureError:
        made_of = None
    place = {"genre": state.world.genre, "world": state.world.name, "tier": state.tier, "slug": slug}
    return {**place, "made_of": made_of, "stack": [], "dropped": []}
