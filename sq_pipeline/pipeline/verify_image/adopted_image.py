"""Does a picture that a person adopted tell the truth? The choice that names its file speaks, and what is kept of it.

Each adopted file is in `chosen/` under its hash, so one that is made of such a file and says otherwise was changed. Not
here: what is rendered in its place now (`today`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import PictureError, SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint, hash_bytes
from sq_pipeline.common.tiers import find_tier
from sq_pipeline.content.records import Choice, World
from sq_pipeline.pictures.checks import Check, change, compare
from sq_pipeline.pictures.png_file import PngFile, read_png
from sq_pipeline.pictures.provenance import AdoptedProvenance, kind_said, read_adopted_provenance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import kept_inputs
from sq_pipeline.pipeline.verify_image.render import check_pixels
from sq_pipeline.pipeline.verify_image.today import check_today


@dataclass(frozen=True)
class _Kept:
    """A file that is kept here: this very picture, or one that is of the same pixels or the same file of a person's.

    `differences`: what it says otherwise.
    """

    file_sha256: str
    file: str
    differences: tuple[str, ...] = ()


def verify_adopted(
    context: Context, said: AdoptedProvenance, png: PngFile, *, is_rendered_again: bool
) -> Iterator[Check]:
    """Everything that can be checked of it."""
    hashed = hash_bytes(png.content)
    known = _known(context, said, hashed)
    is_known = known is not None and not known.differences
    yield check_pixels(said, png)
    yield _check_itself(said)
    yield _check_choice(context, said, known)
    yield _check_over(context, said, is_known=is_known)
    yield check_today(context, said, known.file_sha256 if is_known and known else hashed, None)
    if is_rendered_again:
        yield Check("rendered again", "cannot be told", "a person made it")


def _check_itself(said: AdoptedProvenance) -> Check:
    """What it says of the picture below it, against that."""
    if said.over is None:
        return Check("metadata", "agrees", "it stands over no picture of ours")
    detail = "the fingerprint is that of the inputs beside it, recomputed"
    return compare("metadata", said.over.fingerprint, fingerprint(said.over.inputs), detail)


def _known(context: Context, said: AdoptedProvenance, hashed: str) -> _Kept | None:
    """This file as it is kept here, else what it was made of."""
    files = [
        path
        for folder in sorted(context.data.packs_root.glob("*/chosen"))
        for path in sorted(folder.glob("*.png"))
        if path.is_file() and not path.is_symlink()
    ]
    for path in files:
        try:
            if context.files.hash_of(path) == hashed:
                return _Kept(hashed, context.data.relative(path))
        except OSError:
            continue
    if context.store.read_known("picture", fingerprint(kept_inputs(hashed))) is not None:
        return _Kept(hashed, "the store")
    found = [kept for path in files if (kept := _alike(context, said, path)) is not None]
    return min(found, key=lambda kept: len(kept.differences), default=None)


def _alike(context: Context, said: AdoptedProvenance, path: Path) -> _Kept | None:
    try:
        png = read_png(path, "sq.")
        if kind_said(png.texts) != "adopted":
            return None
        theirs = read_adopted_provenance(png.texts, path.name)
    except (PictureError, OSError):
        return None
    if said.pixels != theirs.pixels and said.file_sha256 != theirs.file_sha256:
        return None
    mine, other = said.model_dump(mode="json"), theirs.model_dump(mode="json")
    names = sorted(name for name in mine if mine[name] != other[name])
    differences = tuple(f"{name}: {_short(other[name], mine[name])}" for name in names)
    return _Kept(hash_bytes(png.content), context.data.relative(path), differences)


def _short(before: Any, now: Any) -> str:
    """`over` holds all inputs of a picture: that is no line to read."""
    return "another picture" if isinstance(before, dict) or isinstance(now, dict) else change(before, now)


def _check_choice(context: Context, said: AdoptedProvenance, known: _Kept | None) -> Check:
    """Who keeps this file, where."""
    name = "choice"
    if known is not None and known.differences:
        return Check(name, "differs", f"{known.file} is what was adopted: {'; '.join(known.differences)}")
    if known is None:
        return Check(name, "cannot be told", "no choice here names its file, and nothing is kept of it")
    found = _chosen(context, known.file_sha256)
    world = context.catalog.worlds.get(f"{said.genre}/{said.world}")
    tier = find_tier(said.tier)
    if told := next((choice for place, choice in found if place == (said.place, said.tier)), None):
        return Check(name, "agrees", told.describe)
    if found:
        (place, _), choice = found[0]
        return Check(name, "moved on", f"it is the picture of {place} now, {choice.describe}")
    if world is not None and tier is not None and (unclear := world.choices.faults_of(tier, said.slug)):
        return Check(name, "cannot be told", "; ".join(map(str, unclear)))
    other = _kept_there(world, said)
    now = f"since then another file is {other.describe}" if other else "it was let go since"
    return Check(name, "moved on", f"{known.file} has it; {now}")


def _chosen(context: Context, file_sha256: str) -> list[tuple[tuple[str, str], Choice]]:
    """Every choice of a file: of which place and tier, and the choice."""
    return [
        ((f"{world.key}/{slug}", tier), choice)
        for world in context.catalog.worlds.values()
        for (tier, slug), choice in world.choices.kept.items()
        if choice.file_sha256 == file_sha256
    ]


def _kept_there(world: World | None, said: AdoptedProvenance) -> Choice | None:
    tier = find_tier(said.tier)
    return world.choices.kept.get((tier, said.slug)) if world is not None and tier is not None else None


def _check_over(context: Context, said: AdoptedProvenance, *, is_known: bool) -> Check:
    """The picture below it, as the store has it. `is_known`: as it was adopted, to the byte."""
    name = "painted over"
    if said.over is None:
        return Check(name, "agrees", "nothing of ours")
    try:
        record = context.store.read_known("picture", said.over.fingerprint)
    except SqPipelineError as error:
        return Check(name, "cannot be told", "; ".join(map(str, error.faults)))
    if record is None:
        return Check(
            name, "cannot be told", "the store has no picture of these inputs; it was made elsewhere, or is gone"
        )
    if is_known and said.over.pixels != record.data_version:
        return Check(
            name, "cannot be told", "the store has other pixels of these inputs, as another machine renders them"
        )
    return compare(name, said.over.pixels, record.data_version, "the store has that very picture")
