"""Reading the whole catalog from a data directory: packs in, worlds and adapters out, each pack's faults on its own.

Here: folders, overlays between levels, what concerns several worlds. Not here: single files (`style_file`,
`subject_files`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.stat_cache import StatCache, code_stamp
from sq_pipeline.common.tiers import TIERS, Tier
from sq_pipeline.content.pack_parts import PackFile
from sq_pipeline.content.records import DEFAULT_WORLD, Adapter, Catalog, LoraEntry, Style, Subject, World
from sq_pipeline.content.stacks import overlay_entries
from sq_pipeline.content.style_file import StyleFile, read_style
from sq_pipeline.content.subject_files import SUBJECT_FILES, SubjectFile, read_subjects

_SUBJECTS = TypeAdapter(SubjectFile)


def read_catalog(data: DataDir, cache: StatCache | None = None) -> Catalog:
    """Everything under `content/genre_packs`. Never raises for a fault in a pack: it is in the catalog's `faults`."""
    with (cache or StatCache(data)).saving() as cache:
        return _read_all(_Reader(data, cache))


@dataclass(frozen=True)
class _Reader:
    """Reads the files of packs; a long history that did not change is not parsed again."""

    data: DataDir
    cache: StatCache

    def style(self, path: Path, genre: StyleFile | None = None) -> StyleFile:
        return read_style(self.data, path, genre)

    def subjects(self, folder: Path, tier: Tier) -> tuple[SubjectFile, str]:
        """The file, and a hash of all it says."""
        path = folder / SUBJECT_FILES[tier].name
        text = self.cache.remember(
            path,
            f"subjects {code_stamp()}",
            lambda: said_by(read_subjects(self.data, folder, tier)).decode(),
        )
        return _SUBJECTS.validate_json(text), hash_bytes(text.encode())


def said_by(file: PackFile) -> bytes:
    """What a file says, as JSON without what is as by default: a key that is new and off changes nothing."""
    return _adapter_of(type(file)).dump_json(file, exclude_defaults=True)


@cache
def _adapter_of(kind: type[PackFile]) -> TypeAdapter[PackFile]:
    return TypeAdapter(kind)


def _read_all(reader: _Reader) -> Catalog:
    data = reader.data
    worlds: dict[str, World] = {}
    faults: dict[str, tuple[Fault, ...]] = {}
    adapters: dict[str, Adapter] = {}
    warnings: list[Fault] = []
    for genre_root in _folders(data.packs_root):
        genre = genre_root.name
        found = _read_genre(reader, genre_root, warnings)
        owners: dict[tuple[Tier, str], str] = {}
        for name in sorted(found):
            key, world = f"{genre}/{name}", found[name]
            if isinstance(world, World):
                clashes = [*_slug_clashes(data, world, owners), *_adapter_clashes(data, world, adapters)]
                if not clashes:
                    worlds[key] = world
                    for tier, subjects in world.subjects.items():
                        owners.update({(tier, subject.slug): name for subject in subjects})
                    adapters.update({a.key: a for a in _adapters_of(data, world)})
                    continue
                world = clashes
            faults[key] = tuple(world)
    return Catalog(worlds, adapters, faults, tuple(warnings))


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _read_genre(reader: _Reader, genre_root: Path, warnings: list[Fault]) -> Mapping[str, World | list[Fault]]:
    """Each world of a genre, or its faults; a fault of the genre's own files is every world's."""
    style_file = reader.style(genre_root / "visual_style.yaml")
    shared: dict[Tier, tuple[SubjectFile, str]] = {tier: reader.subjects(genre_root, tier) for tier in TIERS}
    warnings += [*style_file.warnings, *(warning for file, _ in shared.values() for warning in file.warnings)]
    world_roots = {path.name: path for path in _folders(genre_root / "worlds")}
    if any(file.subjects or file.faults for file, _ in shared.values()) or not world_roots:
        world_roots.setdefault(DEFAULT_WORLD, genre_root / "worlds" / DEFAULT_WORLD)
    result: dict[str, World | list[Fault]] = {}
    for name, root in sorted(world_roots.items()):
        own_style = reader.style(root / "visual_style.yaml", style_file)
        warnings += own_style.warnings
        faults = [*style_file.faults, *own_style.faults]
        said = [said_by(style_file), said_by(own_style)]
        subjects: dict[Tier, tuple[Subject, ...]] = {}
        faulty: dict[Tier, tuple[Fault, ...]] = {}
        for tier, (base, base_hash) in shared.items():
            file, file_hash = reader.subjects(root, tier)
            said += [base_hash.encode(), file_hash.encode()]
            warnings += file.warnings
            wrong = [*file.faults, *(base.faults if name == DEFAULT_WORLD else ())]
            if tier == "landscape":  # its history makes a world
                faults += wrong
            elif wrong:
                faulty[tier] = tuple(wrong)
            found = _overlay_subjects(file.subjects, base.subjects if name == DEFAULT_WORLD else ())
            if found and not wrong:
                subjects[tier] = found
        faults += _overlay_faults(style_file, own_style)
        source = hash_bytes(b"\0".join(said))
        world = _world(genre_root.name, name, style_file, own_style, source)
        result[name] = faults or replace(world, subjects=subjects, faulty_tiers=faulty)
    return result


def _overlay_subjects(own: Iterable[Subject], base: Iterable[Subject]) -> tuple[Subject, ...]:
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


def _slug_clashes(data: DataDir, world: World, owners: Mapping[tuple[Tier, str], str]) -> list[Fault]:
    """The game finds pictures by genre, tier and slug, so two worlds of a genre cannot share one."""
    root = data.world_root(world.genre, world.name)
    return [
        Fault(
            data.relative(root / SUBJECT_FILES[tier].name),
            subject.name,
            f"its picture would be {subject.slug}.png, as one of world {owners[tier, subject.slug]!r} is",
            "give it a `slug:` of its own",
        )
        for tier, subjects in world.subjects.items()
        for subject in subjects
        if (tier, subject.slug) in owners
    ]


def _adapter_clashes(data: DataDir, world: World, known: Mapping[str, Adapter]) -> list[Fault]:
    file = data.relative(data.world_root(world.genre, world.name) / "visual_style.yaml")
    return [
        Fault(file, adapter.name, "another world has this name with another file or trigger", "rename one of them")
        for adapter in _adapters_of(data, world)
        if adapter.key in known and known[adapter.key] != adapter
    ]


def _adapters_of(data: DataDir, world: World) -> list[Adapter]:
    return [_adapter(data, world.genre, entry) for entry in world.entries]


def _adapter(data: DataDir, genre: str, entry: LoraEntry) -> Adapter:
    """`<genre>/<tier>.safetensors` belongs to the dataset `<genre>/<tier>`, `<genre>/<world>/<tier>.safetensors` to
    `<genre>/worlds/<world>/<tier>`; where that folder is missing, the file is an external adapter.
    """
    parts = entry.file.removesuffix(".safetensors").split("/")
    dataset: str | None = None
    if len(parts) == 2:
        dataset = "/".join(parts)
    elif len(parts) == 3:
        dataset = f"{parts[0]}/worlds/{parts[1]}/{parts[2]}"
    if dataset is not None and not (data.datasets_root / dataset).is_dir():
        dataset = None
    tier = parts[-1] if parts[-1] in entry.applies_to else entry.applies_to[0]
    return Adapter(genre, entry.name, entry.file, tier, entry.trigger, dataset)
