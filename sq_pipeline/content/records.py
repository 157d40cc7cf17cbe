"""The author's world: genres, worlds, what they show, styles and adapter entries, as read and overlaid.

Here: frozen records. Not here: reading them from YAML (`content.packs`), what is made of them (`stacks`, `prompts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sq_pipeline.common.errors import ContentError, Fault, SelectionError
from sq_pipeline.common.tiers import TIERS, Tier

DEFAULT_WORLD = "default"


@dataclass(frozen=True)
class Subject:
    """What a picture is of: a place (POI), a person, a creature or a scene.

    `visual_prompt` goes into the prompt verbatim; without one, `{name}: {description}` and `culture` do.
    """

    name: str
    slug: str
    description: str = ""
    visual_prompt: str | None = None
    region: str | None = None
    kind: str | None = None
    culture: str = ""


@dataclass(frozen=True)
class LoraEntry:
    """One adapter in a style: `file` is relative to `content/lora`; `applies_to` are tiers."""

    name: str
    file: str
    lora_scale: float
    applies_to: tuple[str, ...]
    trigger: str | None = None


@dataclass(frozen=True)
class Style:
    """A visual style after overlaying. `tier_suffixes` by tier; `tag_overrides` by a subject's type."""

    positive_suffix: str = ""
    negative_prompt: str = ""
    base_seed: int = 0
    preferred_model: str | None = None
    tier_suffixes: Mapping[str, str] = field(default_factory=dict[str, str])
    tag_overrides: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class World:
    """A world with everything that applies to it. `entries`: the genre's minus `exclude` plus `add`, all tiers.

    `subjects` are by tier, in the order of `TIERS`; a tier without any is not there. `faulty_tiers`: those whose
    manifest cannot be read, with its faults. `excluded` are the genre's entries that this world does without.
    `source` is a hash of all that was read for it: two readings with the same one say the same.
    """

    genre: str
    name: str
    style: Style
    entries: tuple[LoraEntry, ...]
    subjects: Mapping[Tier, tuple[Subject, ...]] = field(default_factory=dict[Tier, tuple[Subject, ...]])
    excluded: tuple[LoraEntry, ...] = ()
    faulty_tiers: Mapping[Tier, tuple[Fault, ...]] = field(default_factory=dict[Tier, tuple[Fault, ...]])
    source: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """`genre/world`, as `--world` takes it."""
        return f"{self.genre}/{self.name}"

    @property
    def pois(self) -> tuple[Subject, ...]:
        """Its places."""
        return self.subjects.get("landscape", ())

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that it has pictures of, or should have; without any a world has its stack of landscapes."""
        return tuple(tier for tier in TIERS if tier in self.subjects or tier in self.faulty_tiers) or ("landscape",)


@dataclass(frozen=True)
class Adapter:
    """One adapter of a genre. `dataset` is its folder under `content/lora-datasets`, None for an external file."""

    genre: str
    name: str
    file: str
    tier: str
    trigger: str | None
    dataset: str | None

    @property
    def key(self) -> str:
        """`genre/name`."""
        return f"{self.genre}/{self.name}"


@dataclass(frozen=True)
class Catalog:
    """All content of a data directory. A broken world or genre is in `faults` by its key, never in `worlds`."""

    worlds: Mapping[str, World]
    adapters: Mapping[str, Adapter]
    faults: Mapping[str, tuple[Fault, ...]]
    warnings: tuple[Fault, ...] = ()

    def select(self, world: str | None) -> tuple[World, ...]:
        """The world that is meant, or all; raises SelectionError (unknown) or ContentError (broken)."""
        if world is None:
            return tuple(self.worlds.values())
        if world in self.worlds:
            return (self.worlds[world],)
        if world in self.faults:
            raise ContentError(self.faults[world])
        known = sorted({*self.worlds, *self.faults})
        genre = world.partition("/")[0]
        problem = f"there is no world {world!r}"
        if "/" in world and not any(key.startswith(f"{genre}/") for key in known):
            problem = f"there is no genre {genre!r}"
        raise SelectionError(Fault("", "--world", problem, f"known are {', '.join(known) or 'none'}"))
