"""What a picture's place had: every version that can still be told of, and what changed from each to the next.

From the store's records of what the game was given, from the archive, and from `chosen/`. Not here: putting one back
(`choose`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sq_pipeline.common.archive import versions_of
from sq_pipeline.common.errors import Fault, PictureError, SelectionError
from sq_pipeline.common.fingerprints import begins_with, hash_bytes, short
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import inputs_said, read_any_provenance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.explain import explain_change
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture


@dataclass(frozen=True)
class PictureVersion:
    """One version of a picture, by the hash of its file. `at`: when the game was given it last, in UTC; of a file
    alone, when that was written.

    `made_of`: what it was rendered from, or painted over; None where that is not told. `path`: where it can be looked
    at, from the data directory; empty where only the store has it, None where it is gone. `changes`: from the version
    before it.
    """

    sha256: str
    at: str
    made_of: Mapping[str, Any] | None
    path: str | None
    is_in_place: bool = False
    is_kept: bool = False
    note: str = ""
    changes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values, without its inputs."""
        return {"version": short(self.sha256), **{k: v for k, v in asdict(self).items() if k != "made_of"}}


def picture_history(context: Context, picture: NamedPicture) -> list[PictureVersion]:
    """All versions, the latest first."""
    found: dict[str, PictureVersion] = {}
    for version in (*_given(context, picture), *_files(context, picture)):
        known = found.get(version.sha256)
        if known is None:
            found[version.sha256] = version
        else:
            path = known.path or version.path
            found[version.sha256] = replace(known, path=path, made_of=known.made_of or version.made_of)
    ordered = sorted(found.values(), key=lambda version: version.at)
    place = context.picture_place(picture.world, picture.tier, picture.subject.slug)
    here = context.files.hash_of(place) if place.is_file() else ""
    kept = picture.world.choices.kept.get((picture.tier, picture.subject.slug))
    rows: list[PictureVersion] = []
    before: Mapping[str, Any] | None = None
    for version in ordered:
        changes = explain_change(before, version.made_of) if before is not None and version.made_of is not None else []
        is_kept = kept is not None and kept.file_sha256 == version.sha256
        note = kept.describe if kept and is_kept else version.note
        rows.append(
            replace(version, changes=tuple(changes), is_in_place=version.sha256 == here, is_kept=is_kept, note=note)
        )
        before = version.made_of or before
    return rows[::-1]


def read_version(context: Context, picture: NamedPicture, version: str) -> tuple[bytes, str]:
    """The bytes of the version that is meant by its first digits, and the file's name. Raises SelectionError."""
    rows = picture_history(context, picture)
    found = [row for row in rows if begins_with(row.sha256, version)]
    if len(found) != 1:
        problem = f"no version begins with {version!r}" if not found else f"{version!r} begins several versions"
        known = ", ".join(short(row.sha256) for row in rows[:_MOST]) or "none"
        raise SelectionError(Fault(picture.key, "VERSION", problem, f"known are {known}"))
    (row,) = found
    path = file_of(context, row)
    content = path.read_bytes() if path is not None and path.is_file() else b""
    if hash_bytes(content) != row.sha256:
        more = command("history", picture.key, "--tier", picture.tier)
        raise SelectionError(Fault(picture.key, "VERSION", "its file is gone", f"take another: {more}"))
    return content, row.path or f"version {short(row.sha256)}"


def file_of(context: Context, version: PictureVersion) -> Path | None:
    """Where a version can be read; None where its file is gone."""
    stored = None if version.path else context.store.find(version.sha256, ".png")
    return context.data.root / version.path if version.path else context.store.lend(stored) if stored else None


_MOST = 8


def _given(context: Context, picture: NamedPicture) -> Iterator[PictureVersion]:
    """Those that the store knows the game was given."""
    key = context.picture_key(picture.world, picture.tier, picture.subject.slug)
    for record, at_ns in context.store.given_at(picture.world.genre, key, picture.subject.slug):
        stored = record.objects["picture"]
        is_there = not context.store.why_missing(stored)
        made_of = record.info.get("made_of") if "kept" in record.inputs else record.inputs
        yield PictureVersion(stored.sha256, _text(at_ns / 1e9), made_of, "" if is_there else None)


def _files(context: Context, picture: NamedPicture) -> Iterator[PictureVersion]:
    """Files at its place, in the archive and in `chosen/` that are of it, as far as they tell."""
    data, world, slug = context.data, picture.world, picture.subject.slug
    place = context.picture_place(world, picture.tier, slug)
    archived = versions_of(place, data.genre_root(world.genre) / "images/archive")
    chosen = versions_of(data.chosen_pictures(world.genre) / place.name, data.chosen_pictures(world.genre))
    for path in dict.fromkeys((*archived, *chosen[1:])):
        if path.is_symlink() or not path.is_file():
            continue
        sha256, made_of = context.files.hash_of(path), None
        try:
            texts = read_png(path, "sq.").texts
            said = read_any_provenance(texts, path.name)
            made_of = inputs_said(texts, path.name) if said is not None else None
        except PictureError:
            said = None
        if said is None and not _is_named_so(path, slug, sha256):
            continue
        if said is not None and (said.place, said.tier) != (f"{world.genre}/{world.name}/{slug}", picture.tier):
            continue  # of another world, or another tier, that has this slug
        note = "" if made_of is not None else "by hand"
        yield PictureVersion(sha256, _at(path), made_of, data.relative(path), note=note)


def _is_named_so(path: Path, slug: str, sha256: str) -> bool:
    """True for `<slug>.png`, with the beginning of its hash or without: `mill` is no beginning of `mill_house`."""
    rest = path.stem.removeprefix(slug)
    return path.stem.startswith(slug) and short(sha256, 64).startswith(rest.removeprefix("."))


def _at(path: Path) -> str:
    return _text(path.stat().st_mtime)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
