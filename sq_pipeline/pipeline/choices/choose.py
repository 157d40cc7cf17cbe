"""Choosing: a take, the picture that is there, a file of one's own; and letting go of it. Each writes one line.

What comes of it is made like all else: by the next run, or at once where nothing is to be rendered (`in_place`).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sq_pipeline.common.archive import archive_version
from sq_pipeline.common.atomic import write_bytes
from sq_pipeline.common.errors import ContentError, Fault, PictureError, SelectionError
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.hints import command
from sq_pipeline.common.tiers import Tier, select_tiers
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.content.records import SEEDS, Act, Choice, Shown, World
from sq_pipeline.pictures.png_file import parse_png
from sq_pipeline.pipeline.choices.adopted import picture_of
from sq_pipeline.pipeline.choices.choices_file import drop_choices, enter_choice, insist_ours, move_choices
from sq_pipeline.pipeline.choices.history import read_version
from sq_pipeline.pipeline.choices.looked_at import why_another_take
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.kept import put_chosen
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture, find_picture


@dataclass(frozen=True)
class Said:
    """In whose name something is decided, and why."""

    by: str
    why: str = ""

    def faults(self) -> list[Fault]:
        """What is missing."""
        return [] if self.by.strip() else [Fault("", "--by", "nobody is named", "say who decides it")]


def pick(context: Context, picture: NamedPicture, take: int, said: Said) -> Choice:
    """Let take `take` be the picture: its seed, with all else as it is. A lock or an adoption stands above it.

    Raises SelectionError where nobody is named, or for a number out of range; PictureError where the take that a person
    looked at was made from something else than would be made now.
    """
    faults = said.faults()
    if not 0 <= take < SEEDS:
        faults.append(Fault("", "--take", f"there is no take {take}", f"name one from 0 to {SEEDS - 1}"))
    if faults:
        raise SelectionError(faults)
    if problem := why_another_take(context, picture, take):
        raise PictureError(problem)
    style, name = picture.world.style, picture.subject.name
    seed = seed_for(picture.world.genre, picture.world.name, name, picture.tier, style.base_seed, f"+{take}")
    return _enter(context, picture, replace(_choice("pick", said), take=take, seed=seed))


def lock(context: Context, picture: NamedPicture, said: Said) -> Choice:
    """Keep the file that is at the picture's place, whatever changes. One that is kept already stays as it is.

    Raises SelectionError where nobody is named, PictureError where no picture is there.
    """
    _insist(said)
    path = context.picture_place(picture.world, picture.tier, picture.subject.slug)
    file = context.data.relative(path)
    if path.is_symlink() or not path.is_file():
        hint = f"bring it up to date with {command('run')}, or bring a file: {_adopt(picture)}"
        raise PictureError(Fault(file, "", "is no file, so there is no picture to keep", hint))
    return _keep(context, picture, "lock", path.read_bytes(), file, said)


def adopt(
    context: Context, picture: NamedPicture, file: Path | None, said: Said, *, is_any_size: bool = False
) -> Choice:
    """Let a person's file be the picture: the one at its place, or one from elsewhere, which is copied.

    What it was painted over is told in it. Raises SelectionError where nobody is named, PictureError or DatasetError
    for a file that is no picture, has more than 8 bits, is transparent, or has another size (unless `is_any_size`).
    """
    _insist(said)
    path = file or context.picture_place(picture.world, picture.tier, picture.subject.slug)
    content = picture_of(context, picture, path, is_any_size=is_any_size)
    choice = _keep(context, picture, "adopt", content, context.data.relative(path), said)
    if file is None and path.read_bytes() != content:  # said with what it was painted over
        archive_version(path, context.data.genre_root(picture.world.genre) / "images/archive")
        write_bytes(path, content)
    return choice


def restore(context: Context, picture: NamedPicture, version: str, said: Said) -> Choice:
    """Put an earlier version back, and keep it: what it was made from has changed since.

    Raises SelectionError where nobody is named, for a version that there is not, and one whose file is gone.
    """
    _insist(said)
    content, file = read_version(context, picture, version)
    return _keep(context, picture, "lock", content, file, said)


def unlock(context: Context, name: str, tier: str | None = None) -> tuple[Tier, Choice | None]:
    """Let go of what is kept of a picture; of one that only a pick is made of, of that. Files stay in `chosen/`.

    Of a picture that is gone too. Returns its tier, and what was let go: None where that could not be understood.
    Raises SelectionError where nothing was decided.
    """
    world, shown = _decided(context, name, tier)
    choices = world.choices
    kept, picked = choices.kept.get(shown), choices.picks.get(shown)
    acts = ("lock", "adopt") if kept or shown in choices.unclear else ("pick",)
    drop_choices(context.data, world.genre, f"{world.name}/{shown[1]}", shown[0], acts)
    return shown[0], kept or picked


def move(context: Context, name: str, to: str, tier: str | None = None) -> NamedPicture:
    """Let the choices of a picture that was renamed be those of `to`, a slug of its world. Raises SelectionError."""
    world, shown = _decided(context, name, tier)
    target = find_picture(context, f"{world.key}/{to}", shown[0])
    if (shown[0], to) in world.choices.shown:
        problem = f"of {target.key} something is chosen already"
        way = command("unlock", target.key, "--tier", shown[0])
        raise SelectionError(Fault("", "SLUG", problem, f"drop that first: {way}"))
    move_choices(context.data, world.genre, f"{world.name}/{shown[1]}", shown[0], f"{world.name}/{to}")
    return target


def _decided(context: Context, name: str, tier: str | None) -> tuple[World, Shown]:
    """The picture that is meant, of those of which something was decided, whether it is there or not."""
    world_name, _, slug = name.rpartition("/")
    (world,) = context.catalog.select(world_name) if world_name.count("/") == 1 and slug else (None,)
    if world is None:
        raise SelectionError(Fault("", "PICTURE", f"{name!r} names no picture", "write it as GENRE/WORLD/SLUG"))
    if world.choices.all_unclear:
        raise ContentError(world.choices.all_unclear)
    found: list[Shown] = [(each, slug) for each in select_tiers(tier) if (each, slug) in world.choices.shown]
    if len(found) > 1:
        problem = f"{name!r} has choices in several tiers"
        raise SelectionError(Fault("", "--tier", problem, f"name one: {', '.join(each for each, _ in found)}"))
    if not found:
        problem = f"of {name} nothing is chosen"
        raise SelectionError(Fault("", "PICTURE", problem, f"see {command('choices list')}"))
    return world, found[0]


def _insist(said: Said) -> None:
    if faults := said.faults():
        raise SelectionError(faults)


def _choice(act: Act, said: Said) -> Choice:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Choice(act, said.by.strip(), at, said.why.strip())


def _keep(context: Context, picture: NamedPicture, act: Act, content: bytes, file: str, said: Said) -> Choice:
    parse_png(content, file, "sq.")  # one that cannot be shown is not kept
    slug, hashed = picture.subject.slug, hash_bytes(content)
    known = picture.world.choices.kept.get((picture.tier, slug))
    if known is not None and known.file_sha256 == hashed:
        return known
    insist_ours(context.data, picture.world.genre)
    put_chosen(context, picture.world.genre, slug, content)
    return _enter(context, picture, replace(_choice(act, said), file_sha256=hashed))


def _enter(context: Context, picture: NamedPicture, choice: Choice) -> Choice:
    world = picture.world
    enter_choice(context.data, world.genre, f"{world.name}/{picture.subject.slug}", picture.tier, choice)
    return choice


def _adopt(picture: NamedPicture) -> str:
    return command("adopt", picture.key, "FILE", "--by", "WHO", "--tier", picture.tier)
