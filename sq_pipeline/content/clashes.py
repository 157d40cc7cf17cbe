"""What worlds of one genre cannot share: a picture's path, and an adapter's name for two files.

The first one has it; the other's entry is at fault, and nothing else of its world.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from sq_pipeline.common.errors import Fault, bounded
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.picture_paths import PicturePaths
from sq_pipeline.common.tiers import Tier
from sq_pipeline.content.records import Adapter, LoraEntry, Subject, World


@dataclass
class Taken:
    """What the worlds of a genre that were taken have; the next one gets what is left."""

    data: DataDir
    genre: str
    paths: PicturePaths
    _pictures: dict[str, tuple[World, Subject]] = field(default_factory=dict[str, tuple[World, Subject]])
    _shown: set[tuple[Tier, Subject]] = field(default_factory=set[tuple[Tier, Subject]])
    _adapters: dict[str, tuple[Adapter, World]] = field(default_factory=dict[str, tuple[Adapter, World]])

    def take(self, world: World) -> World:
        """The world without what another one has, and with the faults of that."""
        faults: list[Fault] = []
        subjects: dict[Tier, tuple[Subject, ...]] = {
            tier: tuple(self._free(world, tier, found, faults)) for tier, found in world.subjects.items()
        }
        faulty = dict(world.faulty_tiers)
        for adapter, entry in zip(adapters_of(self.data, world), world.entries, strict=True):
            known, owner = self._adapters.setdefault(adapter.key, (adapter, world))
            if known == adapter or owner is world:  # two of one name in a world are faults of its style
                continue
            file = self.data.relative(self.data.world_root(self.genre, world.name) / "visual_style.yaml")
            problem = "another world has this name with another file, trigger or reference"
            faults.append(fault := Fault(file, adapter.name, problem, "rename one of them"))
            faulty |= {tier: (*faulty.get(tier, ()), fault) for tier in subjects if tier in entry.applies_to}
        return replace(
            world,
            subjects={tier: found for tier, found in subjects.items() if found},
            faulty_tiers=faulty,
            faults=bounded((*world.faults, *faults)),
        )

    def _free(self, world: World, tier: Tier, subjects: Iterable[Subject], faults: list[Fault]) -> Iterable[Subject]:
        for subject in subjects:
            key = self.paths.clash_key(world.name, tier, subject.slug)
            owner, first = self._pictures.get(key) or (world, subject)
            if self._is_of_genre(subject) and (tier, subject) in self._shown:
                continue
            if first is not subject:
                faults.append(self._fault(world, tier, subject, owner, first))
            else:
                self._pictures[key] = world, subject
                self._shown.add((tier, subject))
                yield subject

    def _is_of_genre(self, subject: Subject) -> bool:
        """True where the genre's own file names it, as older packs do for their only world: equal ones are one."""
        return PurePosixPath(subject.file).parent.as_posix() == self.data.relative(self.data.genre_root(self.genre))

    def _fault(self, world: World, tier: Tier, subject: Subject, owner: World, first: Subject) -> Fault:
        path = self.data.relative(self.paths.path(self.data, self.genre, world.name, tier, subject.slug))
        problem = f"{subject.name!r} would have the picture {path}, as {first.name!r} of world {owner.name!r} has"
        problem += f" ({first.file}: {first.where})"
        way = "give it a `slug:` of its own, or write `picture_path:` with {world} in sq.yaml"
        return Fault(subject.file, subject.where, problem, way)


def adapters_of(data: DataDir, world: World) -> list[Adapter]:
    """The adapters that a world's entries name."""
    return [_adapter(data, world, entry) for entry in world.entries]


def _adapter(data: DataDir, world: World, entry: LoraEntry) -> Adapter:
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
    folder = f"{world.genre_part}/loras/{entry.name}"
    elsewhere = _in_genre(data, world.genre, entry.file) if dataset is None else ""
    return Adapter(
        world.genre, entry.name, entry.file, tier, entry.trigger, dataset, folder, elsewhere, entry.reference
    )


def place_in_genre(data: DataDir, genre: str, file: str) -> Path:
    """Where older packs have an adapter's file: in the genre's own folder."""
    return data.genre_root(genre) / file


def _in_genre(data: DataDir, genre: str, file: str) -> str:
    """That place, where the file is there and not below `content/lora`; else an empty text."""
    path = place_in_genre(data, genre, file)
    if (data.lora_root / file).exists() or not path.is_file():
        return ""
    is_inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(data.genre_root(genre)))
    return data.relative(path) if is_inside else ""
