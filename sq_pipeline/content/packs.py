"""Reading the whole catalog from a data directory: packs in, worlds and adapters out, each fault where it belongs.

A fault reaches what depends on it, and no further: an entry's takes that entry away, a style's stops the worlds that
have it, a file that cannot be read leaves what it last said. Here: folders, overlays between levels. Not here: single
files (`style_file`, `subject_files`), what concerns several worlds (`clashes`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.names import key_parts
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.common.stat_cache import StatCache, code_stamp
from sq_pipeline.common.text import printable
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.clashes import Taken, adapters_of
from sq_pipeline.content.pack_parts import PackFile
from sq_pipeline.content.records import DEFAULT_WORLD, Adapter, Catalog, Style, Subject, World
from sq_pipeline.content.stacks import overlay_entries
from sq_pipeline.content.style_file import StyleFile, read_style
from sq_pipeline.content.subject_files import SUBJECT_FILES, SubjectFile, read_subjects

_SUBJECTS = TypeAdapter(SubjectFile)
_LAST_GOOD = "last good"

File = TypeVar("File", bound=PackFile)


def read_catalog(data: DataDir, cache: StatCache | None = None, paths: PicturePaths | None = None) -> Catalog:
    """Everything under `content/genre_packs`. Never raises for a fault in a pack: it is in the catalog's `faults`.

    `paths` are where pictures are published: two subjects cannot have the same one.
    """
    with (cache or StatCache(data)).saving() as cache:
        return _read_all(_Reader(data, cache), paths or PicturePaths())


@dataclass(frozen=True)
class _Reader:
    """Reads the files of packs; a long history that did not change is not parsed again."""

    data: DataDir
    cache: StatCache

    def style(self, path: Path, genre: StyleFile | None = None) -> StyleFile:
        return self._or_last_good(path, read_style(self.data, path, genre))

    def subjects(self, folder: Path, tier: Tier) -> tuple[SubjectFile, str]:
        """The file, and a hash of all it says."""
        path = folder / SUBJECT_FILES[tier].name
        text = self.cache.remember(
            path,
            f"subjects {code_stamp()}",
            lambda: said_by(self._or_last_good(path, read_subjects(self.data, folder, tier))).decode(),
        )
        return _SUBJECTS.validate_json(text), hash_bytes(text.encode())

    def _or_last_good(self, path: Path, file: File) -> File:
        """The file; one that cannot be read with what it last said, so that nothing of it seems to be gone."""
        if not file.is_unread:
            if path.exists():
                self.cache.note(path, _LAST_GOOD, said_by(replace(file, faults=[], warnings=[])).decode())
            return file
        try:
            last = _adapter_of(type(file)).validate_json(self.cache.noted(path, _LAST_GOOD) or "")
        except ValueError:  # never read before, or by another version
            return file
        return replace(last, faults=file.faults, is_unread=True)


def said_by(file: PackFile) -> bytes:
    """What a file says, as JSON without what is as by default: a key that is new and off changes nothing."""
    return _adapter_of(type(file)).dump_json(file, exclude_defaults=True)


@cache
def _adapter_of(kind: type[File]) -> TypeAdapter[File]:
    return TypeAdapter(kind)


def _read_all(reader: _Reader, paths: PicturePaths) -> Catalog:
    worlds: dict[str, World] = {}
    adapters: dict[str, Adapter] = {}
    warnings: list[Fault] = []
    roots, faults = _folders(reader.data, reader.data.packs_root)
    parts = key_parts(roots)
    for genre, root in roots.items():
        found, strange = _read_genre(reader, root, parts[genre], warnings)
        faults |= strange
        taken = Taken(reader.data, genre, paths)
        for world in sorted(found, key=lambda world: not (reader.data.world_root(genre, world.name)).is_dir()):
            world = taken.take(world)
            worlds[world.key] = world
            adapters |= {
                adapter.key: adapter for adapter in adapters_of(reader.data, world) if adapter.key not in adapters
            }
            if world.faults:
                faults[world.key] = world.faults
    return Catalog(dict(sorted(worlds.items())), adapters, faults, tuple(warnings))


def _folders(data: DataDir, root: Path) -> tuple[dict[str, Path], dict[str, tuple[Fault, ...]]]:
    """The folders in a folder by name, and a fault for each whose name is no text of one line."""
    found: dict[str, Path] = {}
    faults: dict[str, tuple[Fault, ...]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir():
            continue
        if "".join(path.name.splitlines()) == path.name and _is_text(path.name):
            found[path.name] = path
        else:
            shown = printable(data.relative(path))
            faults[shown] = (Fault(shown, "", "has a name that is no text in one line", "rename the folder"),)
    return found, faults


def _is_text(name: str) -> bool:
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in name)


def _read_genre(
    reader: _Reader, root: Path, part: str, warnings: list[Fault]
) -> tuple[list[World], dict[str, tuple[Fault, ...]]]:
    """Each world of a genre, and faults of folders that are none. A fault of the genre's style is every world's."""
    style_file = reader.style(root / "visual_style.yaml")
    shared: dict[Tier, tuple[SubjectFile, str]] = {tier: reader.subjects(root, tier) for tier in TIERS}
    warnings += [*style_file.warnings, *(warning for file, _ in shared.values() for warning in file.warnings)]
    roots, faults = _folders(reader.data, root / "worlds")
    if any(file.subjects or file.faults for file, _ in shared.values()) or not roots:
        roots.setdefault(DEFAULT_WORLD, root / "worlds" / DEFAULT_WORLD)
    parts = key_parts(roots)
    worlds: list[World] = []
    for name, world_root in sorted(roots.items()):
        own_style = reader.style(world_root / "visual_style.yaml", style_file)
        warnings += own_style.warnings
        style_faults = (*style_file.faults, *own_style.faults, *_overlay_faults(style_file, own_style))
        said = [said_by(style_file), said_by(own_style)]
        faults_of_files: list[Fault] = []
        subjects: dict[Tier, tuple[Subject, ...]] = {}
        faulty: dict[Tier, tuple[Fault, ...]] = {}
        for tier, (base, base_hash) in shared.items():
            file, file_hash = reader.subjects(world_root, tier)
            said += [base_hash.encode(), file_hash.encode()]
            warnings += file.warnings
            files = [file, base] if name == DEFAULT_WORLD else [file]
            wrong = [fault for each in files for fault in each.faults]
            faults_of_files += wrong
            if found := _overlay_subjects(*(each.subjects for each in files)):
                subjects[tier] = found
            if style_faults and found:
                faulty[tier] = style_faults
            elif wrong and (not found or any(each.is_unread for each in files)):
                faulty[tier] = tuple(wrong)
        if style_faults and not subjects:
            faulty["landscape"] = style_faults
        world = _world(root.name, name, style_file, own_style, hash_bytes(b"\0".join(said)))
        worlds.append(
            replace(
                world,
                subjects=subjects,
                faulty_tiers=faulty,
                faults=(*style_faults, *faults_of_files),
                genre_part=part,
                world_part=parts[name],
            )
        )
    return worlds, faults


def _overlay_subjects(own: Iterable[Subject], base: Iterable[Subject] = ()) -> tuple[Subject, ...]:
    """The world's, and those of the genre that it has not."""
    mine = {subject.slug: subject for subject in own}
    return (*mine.values(), *(subject for subject in base if subject.slug not in mine))


def _world(genre: str, name: str, base: StyleFile, own: StyleFile, source: str) -> World:
    """A world that shows nothing yet."""
    fields = {**base.fields, **own.fields}
    tiers = {**base.tier_suffixes, **own.tier_suffixes}
    style = Style(tier_suffixes=tiers, tag_overrides={**base.tag_overrides, **own.tag_overrides}, **fields)
    entries = overlay_entries(base.entries, own.exclude, own.entries)
    excluded = tuple(entry for entry in base.entries if entry.name in own.exclude)
    return World(genre, name, style, entries, excluded=excluded, source=source)


def _overlay_faults(base: StyleFile, own: StyleFile) -> list[Fault]:
    if base.is_unread:  # what the genre names is not known
        return []
    inherited = {*base.named_entries, *(entry.name for entry in base.entries)}
    faults = [
        Fault(own.file, where, f"{name!r} names no adapter of the genre", "remove it, or correct the name")
        for name, where in own.named_excludes.items()
        if name not in inherited
    ]
    faults += [
        Fault(own.file, where, f"{name!r} is inherited from the genre already", "give it a name of its own")
        for name, where in own.named_entries.items()
        if name in inherited
    ]
    return faults
