"""Takes: a picture with other seeds, each just what `seed: +N` in its entry would make, so that none is rendered twice.

Here: rendering those that the store has not, and putting them where a person can look. Not here: choosing one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import Fault, RenderError, SelectionError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.hints import command
from sq_pipeline.content.records import SEEDS, Subject
from sq_pipeline.pictures.sheets import draw_gallery
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.images import inputs_by_subject, render_picture
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.prompts import text_of
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of

MOST = 64

OnTake = Callable[[int], None]


@dataclass(frozen=True)
class Take:
    """One take: `seed` is the number that it was rendered with, `path` where a person can look at it."""

    number: int
    seed: int
    record: Record
    path: Path
    is_new: bool


@dataclass(frozen=True)
class Takes:
    """All that were asked for, in order, and the sheet of them with what the game has now."""

    takes: tuple[Take, ...]
    sheet: Path


def make_takes(
    context: Context, picture: NamedPicture, first: int, count: int, on_take: OnTake = lambda _: None
) -> Takes:
    """Render those of `first`, `first` + 1, … that the store has not. A draft has takes too.

    Raises SelectionError for numbers out of range; RenderError where its stack is not there, or a render fails: what
    was rendered before stays. ContentError where its prompt cannot be written.
    """
    if not 0 <= first <= SEEDS - MOST or not 1 <= count <= MOST:
        problem, hint = f"{count} takes from {first}", f"ask for 1 to {MOST}, from 0 to {SEEDS - MOST}"
        raise SelectionError(Fault("", "--count", problem, hint))
    state = world_state_of(context, picture.world, picture.tier)
    if state.lacks_stack:
        way = f"bring it up to date with {command('run')}"
        raise RenderError(Fault(state.stack.asset, "", "; ".join(state.stack.reasons), way))
    folder = context.data.takes_root / picture.world.genre / picture.world.name / picture.tier / picture.subject.slug
    takes: list[Take] = []
    for number in range(first, first + count):
        takes.append(_take(context, state, picture.subject, number, folder))
        on_take(number)
    sheet = folder / "sheet.png"
    write_bytes(sheet, _draw(context, state, picture, takes))
    return Takes(tuple(takes), sheet)


def _take(context: Context, state: WorldState, subject: Subject, number: int, folder: Path) -> Take:
    subject = replace(subject, own=replace(subject.own, seed=f"+{number}", is_draft=False))
    counter = context.token_counter(context.base_model_of_world(state.world))
    text = text_of(context, state.world, state.tier, subject, counter)
    inputs = inputs_by_subject(context, state)(subject, text)
    step = Step(world_asset(state.world, state.names.images, subject.slug), "picture", "stale", inputs)
    record = context.store.read_record("picture", step.fingerprint)
    is_new = record is None
    if record is None:
        state = replace(state, texts={**state.texts, subject.slug: text})
        record = render_picture(context, state, subject, step)
        context.store.write_record(record)
    path = folder / f"take-{number}.png"
    _show(context, path, record)
    return Take(number, text.seed, record, path, is_new)


def _show(context: Context, path: Path, record: Record) -> None:
    """Put it where a person looks; what they painted over the one that was there is kept beside it."""
    if path.is_file() and context.store.find(hash_file(path), path.suffix) is None:
        kept = archive_version(path)
        context.tell(f"{context.data.relative(path)}: kept as {context.data.relative(kept)}")
    write_bytes(path, context.store.read_bytes(record.objects["picture"]))


def _draw(context: Context, state: WorldState, picture: NamedPicture, takes: list[Take]) -> bytes:
    now = state.pictures.get(picture.subject.slug)
    shown = [("now", now.record)] if now is not None and now.record is not None else []
    shown += [(f"take {take.number}, seed {take.seed}", take.record) for take in takes]
    pictures = [(label, context.store.read_bytes(record.objects["picture"])) for label, record in shown]
    return draw_gallery(pictures, columns=max(1, round(len(pictures) ** 0.5)))
