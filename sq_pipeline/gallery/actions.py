"""What a page can ask for, a table: first what is decided, at once, then what is to be made of it, one after another.

All of it is done by the functions that the command line has too. Not here: the order of it (`workshop`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.locks import hold_run_lock
from sq_pipeline.common.tiers import Tier
from sq_pipeline.pipeline.choices.choose import Said, adopt, lock, pick, restore, unlock
from sq_pipeline.pipeline.choices.in_place import place_now
from sq_pipeline.pipeline.choices.looked_at import why_another_take
from sq_pipeline.pipeline.context import Context, Engines
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture, find_picture
from sq_pipeline.pipeline.worlds.take_files import take_files
from sq_pipeline.pipeline.worlds.takes import make_takes

MOST_BYTES = 64 << 20  # of a file that somebody brings
TAKES = 4  # rendered at a time, where nobody says how many


@dataclass(frozen=True)
class Asked:
    """What comes with it: who decides and why, a take's number, a version's first digits, a file, how many takes."""

    said: Said
    take: int | None = None
    version: str = ""
    file: Path | None = None
    is_any_size: bool = False
    count: int = TAKES


@dataclass(frozen=True)
class Work:
    """What is to be made now. `tell`: a line on how far it is; `advance`: how many of how many are done."""

    data: DataDir
    engines: Engines
    name: str
    tier: Tier
    asked: Asked
    tell: Callable[[str], None]
    advance: Callable[[int, int], None]


@dataclass(frozen=True)
class Action:
    """`decide` writes the choice down and says what it is; `make` brings the picture up to date and says how it
    stands. Both raise SqPipelineError. `most_bytes`: how large a file may come with it; 0: none.
    """

    decide: Callable[[Context, NamedPicture, Asked], str]
    make: Callable[[Work], str]
    most_bytes: int = 0


def _pick(context: Context, picture: NamedPicture, asked: Asked) -> str:
    if asked.take is None:
        raise SelectionError(Fault("", "take", "is missing", "name the number of a take"))
    return pick(context, picture, asked.take, asked.said).describe


def _adopt(context: Context, picture: NamedPicture, asked: Asked) -> str:
    if asked.file is None:
        raise SelectionError(Fault("", "file", "is missing", "choose a file"))
    return adopt(context, picture, asked.file, asked.said, is_any_size=asked.is_any_size).describe


def _unlock(context: Context, picture: NamedPicture, _asked: Asked) -> str:
    choice = unlock(context, picture.key, picture.tier)[1]
    return f"no longer {'decided' if choice is None else choice.describe}"


def _place(work: Work) -> str:
    return place_now(work.data, work.engines, work.name, work.tier)


def _reroll(work: Work) -> str:
    """Takes that are not there, as many as are asked for; those that were made from something else are made anew."""
    count, done = work.asked.count, 0

    def on_take(_number: int) -> None:
        nonlocal done
        done += 1
        work.advance(done, count)

    with hold_run_lock(work.data, work.tell):
        work.advance(0, count)
        context = Context(work.data, work.engines, looks_ahead=False)
        picture = find_picture(context, work.name, work.tier)
        first = _first_missing(context, picture)
        make_takes(context, picture, first, count, on_take)
    return f"takes {first} to {first + count - 1} are there" if count > 1 else f"take {first} is there"


def _first_missing(context: Context, picture: NamedPicture) -> int:
    """From 1 on, the first take that is not there as it would be rendered now."""
    there = {take.number for take in take_files(context, picture.world, picture.tier, picture.subject.slug)}
    number = 1
    while number in there and why_another_take(context, picture, number) is None:
        number += 1
    return number


ACTIONS: Mapping[str, Action] = {
    "reroll": Action(lambda *_: "", _reroll),
    "pick": Action(_pick, _place),
    "lock": Action(lambda context, picture, asked: lock(context, picture, asked.said).describe, _place),
    "unlock": Action(_unlock, _place),
    "adopt": Action(_adopt, _place, MOST_BYTES),
    "restore": Action(
        lambda context, picture, asked: restore(context, picture, asked.version, asked.said).describe, _place
    ),
}
