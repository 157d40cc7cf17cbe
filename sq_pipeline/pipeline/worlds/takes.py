"""Takes: a picture with other seeds, each just what `seed: +N` in its entry would make, so that none is rendered twice.

Here: rendering those that the store has not, and putting them where a person can look. Not here: choosing one.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import Fault, RenderError, SelectionError
from sq_pipeline.common.hints import command
from sq_pipeline.content.prompts import write_prompt
from sq_pipeline.content.records import Subject
from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import picture_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.images import render_picture
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of

MOST = 64
_TILE_PX = 256

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
    if first < 0 or not 1 <= count <= MOST:
        problem, hint = f"{count} takes from {first}", f"ask for 1 to {MOST}, from 0 or more"
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
    base_model = context.base_model_of_world(state.world)
    insists = context.settings.dropped_style == "error"
    text = write_prompt(state.world, subject, state.tier, context.token_counter(base_model), insists_on_style=insists)
    settings = subject.own.over(context.render_settings(base_model, state.tier))
    weights, versions = context.weights_hash(base_model), context.engines.renderer_versions
    inputs = picture_inputs(text, state.versions, base_model, weights, settings, versions)
    step = Step(world_asset(state.world, state.names.images, subject.slug), "picture", "stale", inputs)
    record = context.store.read_record("picture", step.fingerprint)
    is_new = record is None
    if record is None:
        state = replace(state, texts={**state.texts, subject.slug: text})
        record = render_picture(context, state, subject, step)
        context.store.write_record(record)
    path = folder / f"take-{number}.png"
    write_bytes(path, context.store.read_bytes(record.objects["picture"]))
    return Take(number, text.seed, record, path, is_new)


def _draw(context: Context, state: WorldState, picture: NamedPicture, takes: list[Take]) -> bytes:
    now = state.pictures.get(picture.subject.slug)
    tiles = [Tile(_pixels(context, now.record), "now")] if now is not None and now.record is not None else []
    tiles += [Tile(_pixels(context, take.record), f"take {take.number}, seed {take.seed}") for take in takes]
    buffer = io.BytesIO()
    draw_sheet(list(_rows(tiles)), _TILE_PX, picture.key).save(buffer, format="PNG")
    return buffer.getvalue()


def _rows(tiles: list[Tile]) -> Iterator[list[Tile]]:
    """About as many columns as rows."""
    columns = max(1, round(len(tiles) ** 0.5))
    for start in range(0, len(tiles), columns):
        yield tiles[start : start + columns]


def _pixels(context: Context, record: Record) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    content = context.store.read_bytes(record.objects["picture"])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
