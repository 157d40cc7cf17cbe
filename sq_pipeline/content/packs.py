"""Reading the whole catalog from a data directory: packs in, worlds and adapters out, each fault where it belongs.

A fault reaches what depends on it, and no further: an entry's takes that entry away, a style's stops the worlds that
have it, a file that cannot be read leaves what it last said. Here: folders, overlays between levels. Not here: single
files (`style_file`, `subject_files`), what concerns several worlds (`clashes`).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from sq_pipeline.common.errors import ContentError, Fault, bounded
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.names import key_parts
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.common.stat_cache import StatCache, code_stamp
from sq_pipeline.common.strict_yaml import load_mapping
from sq_pipeline.common.text import printable
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.choices import read_choices, unread_seeds, warnings_of_choices, with_choices
from sq_pipeline.content.clashes import Taken, adapters_of
from sq_pipeline.content.cultures import FOLDER, Cultures, faults_of_cultures, read_cultures
from sq_pipeline.content.near_files import look_at_settings, look_beside
from sq_pipeline.content.noted import Noted, lost_backdrops, said_twice
from sq_pipeline.content.pack_parts import PackFile
from sq_pipeline.content.records import DEFAULT_WORLD, Adapter, Catalog, Style, Subject, World
from sq_pipeline.content.stacks import overlay_entries
from sq_pipeline.content.style_file import StyleFile, read_style
from sq_pipeline.content.subject_files import SubjectFile, SubjectForm, forms_of, read_subjects

_SUBJECTS = TypeAdapter(SubjectFile)
_LAST_GOOD = "last good"

File = TypeVar("File", bound=PackFile)


def read_catalog(
    data: DataDir,
    cache: StatCache | None = None,
    paths: PicturePaths | None = None,
    ignore_keys: Iterable[str] = (),
) -> Catalog:
    """Everything under `content/genre_packs`. Never raises for a fault in a pack: it is in the catalog's `faults`.

    `paths` are where pictures are published: two subjects cannot have the same one. `ignore_keys`: keys and files that
    nobody is warned of.
    """
    with (cache or StatCache(data)).saving() as cache:
        return _read_all(_Reader(data, cache), paths or PicturePaths(), Noted(frozenset(ignore_keys)))


@dataclass(frozen=True)
class _Reader:
    """Reads the files of packs; a long history that did not change is not parsed again."""

    data: DataDir
    cache: StatCache

    def style(self, path: Path, genre: StyleFile | None = None) -> StyleFile:
        return self._or_last_good(path, read_style(self.data, path, genre))

    def subjects(self, folder: Path, tier: Tier) -> list[SubjectFile]:
        """The files of a tier that a folder has, each as it is read or as it last was."""
        return [self._subjects(folder, tier, form) for form in forms_of(tier) if os.path.lexists(folder / form.name)]

    def _subjects(self, folder: Path, tier: Tier, form: SubjectForm) -> SubjectFile:
        path = folder / form.name
        text = self.cache.remember(
            path,
            f"subjects {code_stamp()}",
            lambda: said_by(self._or_last_good(path, read_subjects(self.data, folder, tier, form))).decode(),
        )
        return _SUBJECTS.validate_json(text)

    def is_draft(self, world_file: Path) -> bool:
        """True where a world's own file says `draft: true`. The rest of it is not ours."""
        if not world_file.is_file():
            return False
        return self.cache.remember(world_file, "draft", lambda: _say_draft(self.data, world_file)) == "draft"

    def _or_last_good(self, path: Path, file: File) -> File:
        """The file; one whose faults leave nothing of it as it last was, so that none of it seems to be gone."""
        file.faults, file.warnings = list(bounded(file.faults)), list(bounded(file.warnings))
        if not file.says_nothing:
            if not file.faults and path.exists():
                self.cache.note(path, _LAST_GOOD, said_by(replace(file, warnings=[])).decode())
            return file
        try:
            last = _adapter_of(type(file)).validate_json(self.cache.noted(path, _LAST_GOOD) or "")
        except ValueError:  # never read before, or by another version
            return file
        return replace(last, faults=file.faults, warnings=file.warnings, is_unread=True)


def _say_draft(data: DataDir, path: Path) -> str:
    try:
        return "draft" if load_mapping(path, data.relative(path)).get("draft") is True else ""
    except ContentError:  # a file of the game's, in its own form
        return ""


def said_by(file: PackFile) -> bytes:
    """What a file says, as JSON without what is as by default: a key that is new and off changes nothing."""
    return _adapter_of(type(file)).dump_json(file, exclude_defaults=True)


@cache
def _adapter_of(kind: type[PackFile]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _read_all(reader: _Reader, paths: PicturePaths, noted: Noted) -> Catalog:
    worlds: dict[str, World] = {}
    adapters: dict[str, Adapter] = {}
    noted.warn(*look_at_settings(reader.data))
    roots, faults = _folders(reader.data, reader.data.packs_root, "")
    parts = key_parts(roots)
    for genre, root in roots.items():
        found, strange = _read_genre(reader, root, parts[genre], noted)
        faults |= strange
        choices = read_choices(reader.data, genre)
        taken = Taken(reader.data, genre, paths)
        shown: dict[str, World] = {}
        real = {world.name for world in found if reader.data.world_root(genre, world.name).is_dir()}
        for world in sorted(found, key=lambda world: world.name == DEFAULT_WORLD):  # the genre's own files come last
            world = taken.take(world)
            noted.warn(*unread_seeds(world, choices))
            world = with_choices(world, choices)
            if world.is_empty and world.name not in real and real:
                continue  # all that the genre's own files say is a world's
            worlds[world.key] = shown[world.name] = world
            adapters |= {
                adapter.key: adapter for adapter in adapters_of(reader.data, world) if adapter.key not in adapters
            }
            if world.faults:
                faults[world.key] = world.faults
        if lost := [fault for fault in choices.faults if not any(fault in world.faults for world in shown.values())]:
            faults[f"{genre}/choices.yaml"] = tuple(lost)
        noted.note(choices)
        noted.warn(*warnings_of_choices(choices, shown))
    return Catalog(dict(sorted(worlds.items())), adapters, faults, tuple(noted.warnings))


# folders that unpackers, systems and tools leave
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__")


def _folders(data: DataDir, root: Path, owner: str) -> tuple[dict[str, Path], dict[str, tuple[Fault, ...]]]:
    """The folders in a folder by name, and a fault for each whose name is no text of one line, by `owner` and name."""
    found: dict[str, Path] = {}
    faults: dict[str, tuple[Fault, ...]] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path.name.startswith(".") or path.name in _OF_SYSTEMS or not path.is_dir():
            continue
        if "".join(path.name.splitlines()) == path.name and _is_text(path.name):
            found[path.name] = path
        else:
            shown = printable(data.relative(path))
            faults[f"{owner}{printable(path.name)}"] = (
                Fault(shown, "", "has a name that is no text in one line", "rename the folder"),
            )
    return found, faults


def _is_text(name: str) -> bool:
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in name)


def _read_genre(
    reader: _Reader, root: Path, part: str, noted: Noted
) -> tuple[list[World], dict[str, tuple[Fault, ...]]]:
    """Each world of a genre, and faults of folders that are none. A fault of the genre's style is every world's."""
    data = reader.data
    style_file = reader.style(root / "visual_style.yaml")
    shared = {tier: reader.subjects(root, tier) for tier in TIERS}
    noted.note(style_file, *(file for files in shared.values() for file in files))
    noted.warn(*(warning for files in shared.values() for warning in said_twice(files)))
    roots, faults = _folders(data, root / "worlds", f"{root.name}/")
    if any(file.subjects or file.faults for files in shared.values() for file in files) or not roots:
        roots.setdefault(DEFAULT_WORLD, root / "worlds" / DEFAULT_WORLD)
    twice, beside = look_beside(data, root, noted.ignored, is_world=False)
    noted.warn(*beside)
    genre_cultures = read_cultures(data, root)
    noted.note(*genre_cultures.values())
    noted.warn(*faults_of_cultures(genre_cultures))
    parts = key_parts(roots)
    worlds: list[World] = []
    for name, world_root in sorted(roots.items()):
        own_style = reader.style(world_root / "visual_style.yaml", style_file)
        own_cultures = read_cultures(data, world_root)
        cultures = Cultures(data.relative(world_root / FOLDER), {**genre_cultures, **own_cultures})
        own = {tier: reader.subjects(world_root, tier) for tier in TIERS}
        noted.note(own_style, *own_cultures.values(), *(file for files in own.values() for file in files))
        noted.warn(*faults_of_cultures(own_cultures))
        noted.warn(*(warning for files in own.values() for warning in said_twice(files)))
        own_twice, beside = look_beside(data, world_root, noted.ignored, is_world=True)
        noted.warn(*beside)
        if reader.is_draft(world_root / "world.yaml"):
            problem = "is not read yet: its pictures are made as those of any world"
            noted.warn(
                Fault(data.relative(world_root / "world.yaml"), "draft", problem, "to wait, move the folder away")
            )
        style_faults = (*style_file.faults, *own_style.faults, *_overlay_faults(style_file, own_style))
        subjects: dict[Tier, tuple[Subject, ...]] = {}
        drafts: dict[Tier, tuple[Subject, ...]] = {}
        faulty: dict[Tier, tuple[Fault, ...]] = {}
        wrong = [*twice, *own_twice]
        for tier in TIERS:
            files = [*own[tier], *(shared[tier] if name == DEFAULT_WORLD else ())]
            here = [fault for file in files for fault in file.faults]
            wrong += here
            entries = cultures.apply(_overlay_subjects(file.subjects for file in files))
            if found := tuple(subject for subject in entries if not subject.own.is_draft):
                subjects[tier] = found
            if waiting := tuple(subject for subject in entries if subject.own.is_draft):
                drafts[tier] = waiting
            if style_faults and found:
                faulty[tier] = style_faults
            elif here and (not found or any(file.is_unread for file in files)):
                faulty[tier] = tuple(here)
        if style_faults and not subjects:
            faulty["landscape"] = style_faults
        noted.warn(*cultures.warnings, *lost_backdrops(subjects))
        said: list[PackFile] = [style_file, own_style, *cultures.files.values()]
        said += (file for files in (*shared.values(), *own.values()) for file in files)
        worlds.append(
            replace(
                _world(root.name, name, style_file, own_style),
                subjects=subjects,
                drafts=drafts,
                faulty_tiers=faulty,
                faults=(*style_faults, *wrong),
                genre_part=part,
                world_part=parts[name],
                source=hash_bytes(b"\0".join(map(said_by, said))),
            )
        )
    return worlds, faults


def _overlay_subjects(levels: Iterable[Iterable[Subject]]) -> tuple[Subject, ...]:
    """Of each level, those that none before it has: the world's own first, then those of its genre."""
    found: dict[str, Subject] = {}
    for level in levels:
        for subject in level:
            found.setdefault(subject.slug, subject)
    return tuple(found.values())


def _world(genre: str, name: str, base: StyleFile, own: StyleFile) -> World:
    """A world that shows nothing yet."""
    fields = {**base.fields, **own.fields}
    tiers = {**base.tier_suffixes, **own.tier_suffixes}
    style = Style(
        tier_suffixes=tiers,
        tag_overrides={**base.tag_overrides, **own.tag_overrides},
        tier_positive_suffixes={**base.tier_positive_suffixes, **own.tier_positive_suffixes},
        **fields,
    )
    entries = overlay_entries(base.entries, own.exclude, own.entries)
    excluded = tuple(entry for entry in base.entries if entry.name in own.exclude)
    return World(genre, name, style, entries, excluded=excluded)


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
