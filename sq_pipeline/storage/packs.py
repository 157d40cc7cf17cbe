"""Reading the whole catalog from a data directory: packs in, worlds and adapters out, each pack's faults on its own.

Here: folders, overlays between levels, what concerns several worlds. Not here: single files (`pack_files`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from sq_pipeline.core.content import DEFAULT_WORLD, Adapter, Catalog, LoraEntry, Poi, Style, World
from sq_pipeline.core.errors import Fault
from sq_pipeline.core.fingerprints import hash_bytes
from sq_pipeline.core.stacks import overlay_entries
from sq_pipeline.storage.layout import DataDir
from sq_pipeline.storage.pack_files import HistoryFile, StyleFile, read_history, read_style
from sq_pipeline.storage.stat_cache import StatCache, code_stamp

_STYLE, _HISTORY = TypeAdapter(StyleFile), TypeAdapter(HistoryFile)


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

    def history(self, path: Path) -> tuple[HistoryFile, str]:
        """The file, and a hash of all it says."""
        text = self.cache.remember(
            path, f"history {code_stamp()}", lambda: _HISTORY.dump_json(read_history(self.data, path)).decode()
        )
        return _HISTORY.validate_json(text), hash_bytes(text.encode())


def _read_all(reader: _Reader) -> Catalog:
    data = reader.data
    worlds: dict[str, World] = {}
    faults: dict[str, tuple[Fault, ...]] = {}
    adapters: dict[str, Adapter] = {}
    warnings: list[Fault] = []
    for genre_root in _folders(data.packs_root):
        genre = genre_root.name
        found = _read_genre(reader, genre_root, warnings)
        owners: dict[str, str] = {}
        for name in sorted(found):
            key, world = f"{genre}/{name}", found[name]
            if isinstance(world, World):
                clashes = [*_slug_clashes(data, world, owners), *_adapter_clashes(data, world, adapters)]
                if not clashes:
                    worlds[key] = world
                    owners.update(dict.fromkeys((poi.slug for poi in world.pois), name))
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
    genre_history, genre_hash = reader.history(genre_root / "history.yaml")
    warnings += [*style_file.warnings, *genre_history.warnings]
    world_roots = {path.name: path for path in _folders(genre_root / "worlds")}
    if genre_history.pois or genre_history.faults or not world_roots:
        world_roots.setdefault(DEFAULT_WORLD, genre_root / "worlds" / DEFAULT_WORLD)
    result: dict[str, World | list[Fault]] = {}
    for name, root in sorted(world_roots.items()):
        own_style = reader.style(root / "visual_style.yaml", style_file)
        own_history, own_hash = reader.history(root / "history.yaml")
        warnings += [*own_style.warnings, *own_history.warnings]
        faults = [*style_file.faults, *own_style.faults, *own_history.faults]
        pois = list(own_history.pois)
        if name == DEFAULT_WORLD:
            faults += genre_history.faults
            mine = {poi.slug for poi in pois}
            pois += [poi for poi in genre_history.pois if poi.slug not in mine]
        faults += _overlay_faults(style_file, own_style)
        said = [_STYLE.dump_json(style_file), _STYLE.dump_json(own_style), genre_hash.encode(), own_hash.encode()]
        source = hash_bytes(b"\0".join(said))
        result[name] = faults or _world(genre_root.name, name, style_file, own_style, pois, source)
    return result


def _world(genre: str, name: str, base: StyleFile, own: StyleFile, pois: Iterable[Poi], source: str) -> World:
    fields = {**base.fields, **own.fields}
    tiers = {**base.tier_suffixes, **own.tier_suffixes}
    style = Style(tier_suffixes=tiers, tag_overrides={**base.tag_overrides, **own.tag_overrides}, **fields)
    return World(genre, name, style, overlay_entries(base.entries, own.exclude, own.entries), tuple(pois), source)


def _overlay_faults(base: StyleFile, own: StyleFile) -> list[Fault]:
    inherited = {*base.named_entries, *(entry.name for entry in base.entries)}
    faults = [
        Fault(own.file, where, f"{name!r} names no adapter of the genre", "remove it, or mend the name")
        for name, where in own.named_excludes.items()
        if name not in inherited
    ]
    faults += [
        Fault(own.file, where, f"{name!r} is inherited from the genre already", "give it a name of its own")
        for name, where in own.named_entries.items()
        if name in inherited
    ]
    return faults


def _slug_clashes(data: DataDir, world: World, owners: Mapping[str, str]) -> list[Fault]:
    """The game finds pictures by genre and slug, so two worlds of a genre cannot share one."""
    return [
        Fault(
            data.relative(data.world_root(world.genre, world.name) / "history.yaml"),
            poi.name,
            f"its picture would be {poi.slug}.png, as one of world {owners[poi.slug]!r} is",
            "give it a `slug:` of its own",
        )
        for poi in world.pois
        if poi.slug in owners
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
