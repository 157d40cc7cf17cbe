"""Takes: a picture with other seeds, each just what `seed: +N` in its entry would make, so that none is rendered twice.

Also over other scales, adapters, base models (`vary`): each just what the world would make if it were so. Here:
rendering those that the store has not, and putting them where a person can look. Not here: choosing one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import ContentError, Fault, RenderError, SelectionError, SqPipelineError
from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.common.hints import command, option
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.content.records import SEEDS, Subject
from sq_pipeline.pictures.grids import draw_labelled_grid
from sq_pipeline.pictures.sheets import draw_gallery
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.images import inputs_by_subject, render_picture
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.pipeline.worlds.prompts import text_of
from sq_pipeline.pipeline.worlds.vary import OPTION, Axis, Scene, Value, read_axes, scene_of
from sq_pipeline.pipeline.worlds.world_state import WorldState, world_asset
from sq_pipeline.pipeline.worlds.world_status import world_state_of

MOST = 64
# How many, and from which one, where nobody says: by how many things are varied.
_COUNTS, _FIRSTS = (8, 4, 1), (1, 0, 0)

OnTake = Callable[[int], None]


@dataclass(frozen=True)
class Take:
    """One take: `seed` is the number that it was rendered with, `path` where a person can look at it.

    `values`: what each axis of a grid is for it, by the axis's name.
    """

    number: int
    seed: int
    record: Record
    path: Path
    is_new: bool
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Takes:
    """All that were asked for, in order, and the sheet of them with what the game has now.

    Of a grid: row by row, `ways` to use a value that one likes.
    """

    takes: tuple[Take, ...]
    sheet: Path
    ways: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Cell:
    """One take that is to be there: what it is rendered with, and where it stands in the grid."""

    number: int
    values: tuple[tuple[Axis, Value], ...]
    context: Context
    state: WorldState
    subject: Subject
    step: Step

    @property
    def file(self) -> str:
        """`take-1.png`, `take-0-scale-0.6.png`."""
        parts = [f"-{axis.name.replace(':', '-')}-{value.text}" for axis, value in self.values]
        return f"take-{self.number}{''.join(parts)}.png"

    @property
    def stack(self) -> tuple[str, list[tuple[str, float]]]:
        """What has to be loaded for it."""
        return self.context.base_model_of_world(self.state.world).name, self.state.versions


def make_takes(
    context: Context,
    picture: NamedPicture,
    first: int | None = None,
    count: int | None = None,
    on_take: OnTake = lambda _: None,
    vary: Sequence[str] = (),
) -> Takes:
    """Render those of `first`, `first` + 1, … that the store has not. A draft has takes too.

    `vary`: at most two of `KEY=A,B`, see `vary.KEYS`; then these are the rows of a grid, the same seeds in each column.
    Without `first` and `count` 8 from 1; of a grid 4 from 0, its own seed; that one alone where two things are varied.

    Raises SelectionError for numbers out of range and for what cannot be varied so, all at once; RenderError where its
    stack is not there, or a render fails: what was rendered before stays. ContentError where its prompt cannot be
    written.
    """
    state = world_state_of(context, picture.world, picture.tier)
    faults: list[Fault] = []
    axes = read_axes(_scene(context, state), vary, faults) if vary else ()
    many = min(len(vary), len(_COUNTS) - 1)
    first, count = _FIRSTS[many] if first is None else first, _COUNTS[many] if count is None else count
    _check_numbers(first, count, axes, faults)
    if faults:
        raise SelectionError(faults)
    scene, numbers = _scene(context, state), range(first, first + count)
    cells = _plan(scene, picture.subject, numbers, axes)
    folder = context.data.takes_root / picture.world.genre / picture.world.name / picture.tier / picture.subject.slug
    made: dict[int, Take] = {}
    order = list(dict.fromkeys(cell.stack[0] for cell in cells))
    # one base model after the other, and of each one stack after the other
    places = sorted(range(len(cells)), key=lambda at: (order.index(cells[at].stack[0]), str(cells[at].stack)))
    with progress_of(f"rendering takes of {picture.key}", len(cells)) as progress:
        for place in places:
            made[place] = _make(cells[place], folder)
            on_take(cells[place].number)
            progress.advance()
    takes = tuple(made[place] for place in range(len(cells)))
    names = "-".join(axis.name.replace(":", "-") for axis in axes)
    sheet = folder / (f"grid-{names}.png" if axes else "sheet.png")
    if axes:
        write_bytes(sheet, _draw_grid(context, picture, cells, takes, axes))
    else:
        write_bytes(sheet, _draw(context, state, picture, takes))
    return Takes(takes, sheet, tuple((axis.name, axis.way) for axis in axes))


def takes_inputs(context: Context, picture: NamedPicture, numbers: Sequence[int]) -> dict[int, Inputs]:
    """What these takes would be made from now. Raises RenderError where its stack is not there, ContentError."""
    scene = _scene(context, world_state_of(context, picture.world, picture.tier))
    return {number: _cell(scene, picture.subject, number, ()).step.inputs for number in numbers}


def _scene(context: Context, state: WorldState) -> Scene:
    if state.lacks_stack:
        way = f"bring it up to date with {command('run')}"
        raise RenderError(Fault(state.stack.asset, "", "; ".join(state.stack.reasons), way))
    return scene_of(context, state)


def _check_numbers(first: int, count: int, axes: Sequence[Axis], faults: list[Fault]) -> None:
    if not 0 <= first <= SEEDS - MOST or not 1 <= count <= MOST:
        problem, hint = f"{count} takes from {first}", f"ask for 1 to {MOST}, from 0 to {SEEDS - MOST}"
        faults.append(Fault("", "--count", problem, hint))
        return
    total = count
    for axis in axes:
        total *= max(1, len(axis.values))
    if total > MOST:
        hint = f"name fewer values, or ask for fewer seeds with {option('takes', '--count', '1')}"
        faults.append(Fault("", OPTION, f"that is {total} pictures; {MOST} are the most", hint))


def _plan(scene: Scene, subject: Subject, numbers: Sequence[int], axes: Sequence[Axis]) -> list[_Cell]:
    """All that are to be there, row by row; raises ContentError or SelectionError, with all that is wrong."""
    across, down = axes[:1], axes[1:]
    cells: list[_Cell] = []
    faults: list[Fault] = []
    for lower in product(*(axis.values for axis in down)):
        for number in numbers:
            for upper in product(*(axis.values for axis in across)):
                values = tuple(zip(axes, (*upper, *lower), strict=True))
                try:
                    cells.append(_cell(scene, subject, number, values))
                except SqPipelineError as error:
                    faults += error.faults
    if faults:
        raise ContentError(dict.fromkeys(faults))
    return cells


def _cell(scene: Scene, subject: Subject, number: int, values: tuple[tuple[Axis, Value], ...]) -> _Cell:
    for _, value in values:
        scene = value.change(scene)
    context, state = scene.context, scene.as_state()
    subject = replace(subject, own=replace(subject.own, seed=f"+{number}", is_draft=False))
    counter = context.token_counter(context.base_model_of_world(state.world))
    text = text_of(context, state.world, state.tier, subject, counter)
    inputs = inputs_by_subject(context, state)(subject, text)
    step = Step(world_asset(state.world, state.names.images, subject.slug), "picture", "stale", inputs)
    state = replace(state, texts={**state.texts, subject.slug: text})
    return _Cell(number, values, context, state, subject, step)


def _make(cell: _Cell, folder: Path) -> Take:
    store = cell.context.store
    record = store.read_record("picture", cell.step.fingerprint)
    is_new = record is None
    if record is None:
        record = render_picture(cell.context, cell.state, cell.subject, cell.step)
        store.write_record(record)
    path = folder / cell.file
    _show(cell.context, path, record)
    seed = cell.state.texts[cell.subject.slug].seed
    return Take(cell.number, seed, record, path, is_new, tuple((axis.name, value.text) for axis, value in cell.values))


def _show(context: Context, path: Path, record: Record) -> None:
    """Put it where a person looks; what they painted over the one that was there is kept beside it."""
    if path.is_file() and context.store.find(hash_file(path), path.suffix) is None:
        kept = archive_version(path)
        context.tell(f"{context.data.relative(path)}: kept as {context.data.relative(kept)}")
    write_bytes(path, context.store.read_bytes(record.objects["picture"]))


def _draw(context: Context, state: WorldState, picture: NamedPicture, takes: Sequence[Take]) -> bytes:
    now = state.pictures.get(picture.subject.slug)
    shown = [("now", now.record)] if now is not None and now.record is not None else []
    shown += [(f"take {take.number}, seed {take.seed}", take.record) for take in takes]
    pictures = [(label, context.store.read_bytes(record.objects["picture"])) for label, record in shown]
    return draw_gallery(pictures, columns=max(1, round(len(pictures) ** 0.5)))


def _draw_grid(
    context: Context, picture: NamedPicture, cells: Sequence[_Cell], takes: Sequence[Take], axes: Sequence[Axis]
) -> bytes:
    """Columns are the values of the first axis, rows those of the second and the seeds."""
    columns = [(axes[0].label, value.label) for value in axes[0].values]
    width = len(columns)
    rows = [
        (
            *(f"{axis.label} {value.label}" for axis, value in cell.values[1:]),
            f"take {take.number}",
            f"seed {take.seed}",
        )
        for cell, take in zip(cells[::width], takes[::width], strict=True)
    ]
    pictures = [context.store.read_bytes(take.record.objects["picture"]) for take in takes]
    lines = [pictures[at : at + width] for at in range(0, len(pictures), width)]
    return draw_labelled_grid(f"{picture.subject.name} · {picture.key}", columns, rows, lines)
