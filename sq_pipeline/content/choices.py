"""`choices.yaml` of a genre: what people decided of single pictures, a line each, in their name.

Ours to write, and a person's to merge: a line that is wrong, or stands against another, stops its own picture alone,
and a file that cannot be read all of its genre's, so that nothing is made against what somebody chose. Not here:
entering a choice (`pipeline.choices`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BeforeValidator, Field

from sq_pipeline.common.errors import Fault, bounded
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.hints import command
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import near_miss, wrong
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.pack_parts import PackFile, PackPart, of_type
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.content.records import SEEDS, Act, Choice, Shown, Subject, World, WorldChoices

ACTS: tuple[Act, ...] = get_args(Act)
KEYS = ("picture", "tier", "act", "take", "seed", "file_sha256", "by", "at", "why")  # in the order of a line

HEAD = "# Written by sq-pipeline: what people chose of single pictures. Keep it, and chosen/, under version control.\n"
_OURS = HEAD.partition(":")[0]
_OUR_KEYS = re.compile(r"\b(picture|act|take|seed|file_sha256|by|at)\s*:")
_ENOUGH = 3  # of our keys: a game may have choices of another kind in a file of this name

_MARKS = ("<<<<<<<", "=======", ">>>>>>>")
_SEED = r"^sha256:[0-9a-f]{64}$"


def _one_of(known: tuple[str, ...]) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, str) and value in known:
            return value
        guess = near_miss(value, known) if isinstance(value, str) else None
        raise wrong(f"is {value!r}", f"did you mean {guess}?" if guess else f"write one of {', '.join(known)}")

    return BeforeValidator(check)


def _number(least: int, most: int) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return int(value)
        raise wrong(f"is {value!r}", f"write a whole number from {least} to {most}")

    return BeforeValidator(check)


_TEXT = of_type(str, "is {type}: {value!r}, not a text", "put it in quotes")


class ChoiceLine(PackPart):
    """One choice as it stands in the file."""

    must_be: ClassVar[str] = "write `{picture: WORLD/SLUG, act: …}`"
    only_ours: ClassVar[str | None] = "remove it, or correct its name"

    picture: Annotated[str, _TEXT] = Field(pattern=r"^[^/]+/[^/]+$", description="Which picture, as `WORLD/SLUG`.")
    tier: Annotated[Tier, _one_of(TIERS)] = Field(default="landscape", description="Its tier.")
    act: Annotated[Act, _one_of(ACTS)] = Field(
        description="`pick`: a take; `lock`: the file that was there; `adopt`: a file of your own."
    )
    take: Annotated[int, _number(0, SEEDS - 1)] | None = Field(default=None, description="Of a pick: its number.")
    seed: Annotated[int, _number(0, SEEDS - 1)] | None = Field(default=None, description="Of a pick: its seed.")
    file_sha256: Annotated[str, _TEXT] | None = Field(
        default=None, pattern=_SEED, description="Of what is kept: the hash of its file in `chosen/`."
    )
    by: Annotated[str, _TEXT] = Field(pattern=r"\S", description="Who decided it.")
    at: Annotated[str, _TEXT] = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", description="When, in UTC.")
    why: Annotated[str, _TEXT] = Field(default="", description="Why.")

    @property
    def lacks(self) -> list[Fault]:
        """What its act needs and it does not say."""
        needs = {"pick": ("take", "seed"), "lock": ("file_sha256",), "adopt": ("file_sha256",)}
        names = needs.get(getattr(self, "act", ""), ())
        given = self.model_fields_set
        return [
            Fault("", name, "is missing", f"{self.act} needs it; choose again") for name in names if name not in given
        ]

    @property
    def as_choice(self) -> Choice:
        """What was decided, of a line without faults."""
        return Choice(self.act, self.by, self.at, self.why, self.take, self.seed, self.file_sha256 or "")


class _File(PackPart):
    list_of: ClassVar[str | None] = "choices"
    only_ours: ClassVar[str | None] = "remove it: the file holds `choices` alone"

    choices: Annotated[list[ChoiceLine], of_type(list, "is {type}, not a list", "begin each choice with `- `")] = Field(
        default_factory=list[ChoiceLine], description="The choices."
    )


@dataclass
class _OfWorld:
    """What the lines of one world say."""

    lines: dict[Shown, list[Choice]] = field(default_factory=dict[Shown, list[Choice]])
    faults: dict[Shown, list[Fault]] = field(default_factory=dict[Shown, list[Fault]])


@dataclass
class ChoicesFile(PackFile):
    """The choices of a genre, by world. `faults` has all that is wrong in it; `of_any`: what may be of any picture."""

    genre: str = ""
    worlds: dict[str, WorldChoices] = field(default_factory=dict[str, WorldChoices])
    of_any: list[Fault] = field(default_factory=list[Fault])

    def of(self, world: str) -> WorldChoices:
        """Those of a world."""
        if self.of_any:
            return WorldChoices(all_unclear=tuple(bounded(self.of_any)))
        return self.worlds.get(world, WorldChoices())


def read_choices(data: DataDir, genre: str) -> ChoicesFile:
    """The choices of a genre; never raises for what is wrong in the file."""
    path = data.picture_choices(genre)
    file = ChoicesFile(data.relative(path), genre=genre)
    if is_of_others(path):
        problem = "is not read: it holds no choices of pictures"
        file.warnings.append(Fault(file.file, "", problem, "rename it, if you want to choose pictures; or leave it"))
        return file
    read = file.read(_File, path)
    if file.is_unread:
        file.of_any = file.faults = [of_merge(path, fault) for fault in file.faults]
        return file
    file.of_any += file.faults  # of the file itself
    found: dict[str, _OfWorld] = {}
    for number, line in enumerate(read.choices):
        _take(file, found, line, f"choices[{number}]")
    file.worlds = {world: _settle(file, world, said) for world, said in sorted(found.items())}
    return file


def is_of_others(path: Path) -> bool:
    """True for a file of this name that is somebody's, for something else: neither our head nor our keys are in it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return False  # told as any file that cannot be read
    return bool(text.strip()) and _OURS not in text and len(set(_OUR_KEYS.findall(text))) < _ENOUGH


def of_merge(path: Path, fault: Fault) -> Fault:
    """A merge that was left open says so."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return fault
    if not any(line.startswith(_MARKS) for line in lines):
        return fault
    way = "keep the lines of both sides, and take the marks out; two choices of one picture are told then"
    return replace(fault, problem="has the marks of a merge that is not settled", hint=way)


def _take(file: ChoicesFile, found: dict[str, _OfWorld], line: ChoiceLine, where: str) -> None:
    before = len(file.faults)
    file.take(line, where)
    file.faults += (replace(fault, file=file.file, field=f"{where}.{fault.field}") for fault in line.lacks)
    faults = file.faults[before:]
    named = getattr(line, "picture", None)
    if named is None or "picture" in {fault.field.rpartition(".")[2] for fault in faults}:
        file.of_any += faults
        return
    world, _, slug = named.partition("/")
    shown: Shown = (line.tier, slug)
    said = found.setdefault(world, _OfWorld())
    if faults:
        said.faults.setdefault(shown, []).extend(faults)
    else:
        said.lines.setdefault(shown, []).append(line.as_choice)


def _settle(file: ChoicesFile, world: str, said: _OfWorld) -> WorldChoices:
    """Of each picture one pick, and one file that is kept; where there are more, nobody can tell which was meant."""
    picks: dict[Shown, Choice] = {}
    kept: dict[Shown, Choice] = {}
    for shown, lines in said.lines.items():
        for into, found in (
            (picks, [choice for choice in lines if choice.act == "pick"]),
            (kept, [choice for choice in lines if choice.act != "pick"]),
        ):
            if len({replace(choice, by="", at="", why="") for choice in found}) > 1:
                tier, slug = shown
                told = " and ".join(choice.describe for choice in found)
                name, act = f"{file.genre}/{world}/{slug}", found[0].act
                fault = Fault(file.file, f"{world}/{slug}", f"is decided twice: {told}", _one_way(name, tier, act))
                said.faults.setdefault(shown, []).append(fault)
                file.faults.append(fault)
            elif found:
                into[shown] = found[0]
    return WorldChoices(
        {shown: choice for shown, choice in picks.items() if shown not in said.faults},
        {shown: choice for shown, choice in kept.items() if shown not in said.faults},
        {shown: tuple(faults) for shown, faults in said.faults.items()},
    )


def _one_way(name: str, tier: Tier, act: str) -> str:
    if act == "pick":
        again = command("pick", name, "--take", "N", "--by", "WHO", "--tier", tier)
    else:
        again = command("lock", name, "--by", "WHO", "--tier", tier)
    return f"remove the line that is not meant, or choose again: {again}"


def with_choices(world: World, file: ChoicesFile) -> World:
    """The world with what people decided: a picked take is its picture's seed, whatever its entry says."""
    choices = file.of(world.name)
    if choices == WorldChoices():
        return world
    subjects = {
        tier: tuple(_picked(world, tier, subject, choices.picks.get((tier, subject.slug))) for subject in found)
        for tier, found in world.subjects.items()
    }
    told = choices.all_unclear or tuple(fault for faults in choices.unclear.values() for fault in faults)
    source = hash_bytes(f"{world.source}\0{choices}".encode())
    return replace(world, subjects=subjects, choices=choices, faults=(*world.faults, *told), source=source)


def _picked(world: World, tier: Tier, subject: Subject, choice: Choice | None) -> Subject:
    if choice is None or choice.seed is None:
        return subject
    # as a take says it, so that both are one picture to the byte; by itself once the seed it counted from is another
    derived = seed_for(world.genre, world.name, subject.name, tier, world.style.base_seed, f"+{choice.take}")
    seed = f"+{choice.take}" if derived == choice.seed else str(choice.seed)
    return replace(subject, own=replace(subject.own, seed=seed))


def unread_seeds(world: World, file: ChoicesFile) -> Iterable[Fault]:
    """A warning for each seed of an entry that a picked take stands in for. `world`: as its own files have it."""
    picks = file.of(world.name).picks
    for tier, found in world.subjects.items():
        for subject in found:
            if subject.own.seed and (choice := picks.get((tier, subject.slug))):
                problem = f"counts for nothing: {choice.describe} ({file.file})"
                drop = command("unlock", f"{world.key}/{subject.slug}", "--tier", tier)
                way = f"remove it, or drop the choice: {drop}"
                yield Fault(subject.file, f"{subject.where}.seed", problem, way)


def warnings_of_choices(file: ChoicesFile, worlds: Mapping[str, World]) -> Iterable[Fault]:
    """A warning for each choice of a picture that is not there: its entry may have been renamed."""
    for name, choices in file.worlds.items():
        world = worlds.get(name)
        for tier, slug in sorted(choices.shown):
            known = _slugs(world, tier) if world else set[str]()
            if slug not in known:
                problem, way = f"is decided, and there is no such {tier}", _way(world, tier, slug, known)
                yield Fault(file.file, f"{name}/{slug}", problem, way)


def _slugs(world: World, tier: Tier) -> set[str]:
    return {subject.slug for subject in (*world.subjects.get(tier, ()), *world.drafts.get(tier, ()))}


def _way(world: World | None, tier: Tier, slug: str, known: set[str]) -> str:
    if world is None:
        return "nothing of it is lost; put its world back, or remove the line"
    guess = near_miss(slug, known - {taken for _, taken in world.choices.shown}) or "SLUG"
    moved = command("choices move", f"{world.key}/{slug}", guess, "--tier", tier)
    return f"nothing of it is lost; if it was renamed, {moved} takes the choice along"


def line_of(picture: str, tier: Tier, choice: Choice) -> dict[str, Any]:
    """A choice as it is written; what is as by default is not there."""
    said = {"picture": picture, "tier": tier, **{name: getattr(choice, name) for name in KEYS[2:]}}
    return {
        name: value
        for name, value in said.items()
        if value not in (None, "") and (name, value) != ("tier", "landscape")
    }
