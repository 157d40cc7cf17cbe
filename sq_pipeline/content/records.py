"""The author's world: genres, worlds, what they show, styles and adapter entries, as read and overlaid.

Here: frozen records. Not here: reading them from YAML (`content.packs`), what is made of them (`stacks`, `prompts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sq_pipeline.base_models.base_models import RenderSettings, SizePx
from sq_pipeline.common.errors import Fault, SelectionError
from sq_pipeline.common.tiers import TIERS, Tier

DEFAULT_WORLD = "default"
SEEDS = 2**32  # how many there are


@dataclass(frozen=True)
class OwnSettings:
    """What an entry says of its picture alone. `seed`: `7`, or `+3` after the one that it has; empty for that one.

    None: as the tier, or the style, has it.
    """

    seed: str = ""
    size_px: tuple[int, int] | None = None
    num_inference_steps: int | None = None
    negative_prompt: str | None = None
    is_draft: bool = False

    def over(self, settings: RenderSettings) -> RenderSettings:
        """What the picture is rendered with, where its tier has these settings."""
        if self.size_px is not None:
            settings = replace(settings, size=SizePx(*self.size_px))
        if self.num_inference_steps is not None:
            settings = replace(settings, num_inference_steps=self.num_inference_steps)
        return settings


@dataclass(frozen=True)
class Subject:
    """What a picture is of: a place (POI), a person, a creature or a scene.

    `visual_prompt` goes into the prompt verbatim; without one, `{name}: {role}, {description}`, `culture` and
    `element`, what is around a person, do. `culture_stem`: what may be a culture's file, until it is looked up.
    `backdrop`: the slug of a place. `file` and `where` tell where it is written. `own`: what it says of its picture.
    """

    name: str
    slug: str
    description: str = ""
    visual_prompt: str | None = None
    region: str | None = None
    kind: str | None = None
    culture: str = ""
    file: str = field(default="", compare=False)
    where: str = field(default="", compare=False)
    role: str = ""
    element: str = ""
    culture_stem: str = ""
    backdrop: str = field(default="", compare=False)
    own: OwnSettings = OwnSettings()


Act = Literal["pick", "lock", "adopt"]


@dataclass(frozen=True)
class Choice:
    """What a person decided of one picture. `pick`: a take, by its `seed`; `lock` and `adopt`: the file with this hash,
    as it was there, or as they brought it, whatever else would be made.

    `take`: the number that the seed had. `at`: when, in UTC, as `2026-11-30T12:00:00Z`.
    """

    act: Act
    by: str
    at: str
    why: str = ""
    take: int | None = None
    seed: int | None = None
    file_sha256: str = ""

    @property
    def describe(self) -> str:
        """`take 2, picked by Ada on 2026-11-30 because …`."""
        what = {"pick": f"take {self.take}, picked", "lock": "locked", "adopt": "adopted"}[self.act]
        why = f" because {self.why}" if self.why else ""
        return f"{what} by {self.by} on {self.at[:10]}{why}"


Shown = tuple[Tier, str]  # a tier and a slug: one picture of a world


@dataclass(frozen=True)
class WorldChoices:
    """What people decided of a world's pictures: `picks`, the takes, and `kept`, the files that stay.

    `unclear`: the pictures of which that cannot be told, and why; nothing is made of them. `all_unclear`: of all.
    """

    picks: Mapping[Shown, Choice] = field(default_factory=dict[Shown, Choice])
    kept: Mapping[Shown, Choice] = field(default_factory=dict[Shown, Choice])
    unclear: Mapping[Shown, tuple[Fault, ...]] = field(default_factory=dict[Shown, tuple[Fault, ...]])
    all_unclear: tuple[Fault, ...] = ()

    def faults_of(self, tier: Tier, slug: str) -> tuple[Fault, ...]:
        """Why it cannot be told what was decided of a picture."""
        return self.all_unclear or self.unclear.get((tier, slug), ())

    def told(self, tier: str, slug: str) -> str:
        """What was decided of a picture, in words; empty for nothing."""
        found = (
            choice for chosen in (self.kept, self.picks) for shown, choice in chosen.items() if shown == (tier, slug)
        )
        return "; ".join(choice.describe for choice in found)

    @property
    def shown(self) -> frozenset[Shown]:
        """All pictures of which something was decided."""
        return frozenset((*self.picks, *self.kept, *self.unclear))


@dataclass(frozen=True)
class LoraEntry:
    """One adapter in a style: `file` is relative to `content/lora`; `applies_to` are tiers; `reference` is relative to
    `content/lora-datasets`.
    """

    name: str
    file: str
    lora_scale: float
    applies_to: tuple[str, ...]
    trigger: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Style:
    """A visual style after overlaying. `tier_suffixes`, and what stands in for `positive_suffix`, by tier;
    `tag_overrides` by a subject's type. `name_in_prompt`: a prompt that is made of a description begins with the name.
    """

    positive_suffix: str = ""
    negative_prompt: str = ""
    base_seed: int = 0
    preferred_model: str | None = None
    name_in_prompt: bool = True
    tier_suffixes: Mapping[str, str] = field(default_factory=dict[str, str])
    tag_overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    tier_positive_suffixes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class World:
    """A world with everything that applies to it. `entries`: the genre's minus `exclude` plus `add`, all tiers.

    `subjects` are by tier, in the order of `TIERS`; a tier without any is not there. `drafts` are expected, and no
    pictures are made of them. `faulty_tiers`: those of which nothing can be made, with the faults why; of a file that
    cannot be read, their subjects are those of before. `faults`: all that is wrong with it; what of it is sound is in
    the other fields. `excluded` are the genre's entries that this world does without. `choices`: what people decided of
    its pictures. `genre_part` and `world_part`: its names as Dagster's keys hold them. `source` is a hash of all that
    was read for it: two readings with the same one say the same.
    """

    genre: str
    name: str
    style: Style
    entries: tuple[LoraEntry, ...]
    subjects: Mapping[Tier, tuple[Subject, ...]] = field(default_factory=dict[Tier, tuple[Subject, ...]])
    drafts: Mapping[Tier, tuple[Subject, ...]] = field(default_factory=dict[Tier, tuple[Subject, ...]])
    excluded: tuple[LoraEntry, ...] = ()
    faulty_tiers: Mapping[Tier, tuple[Fault, ...]] = field(default_factory=dict[Tier, tuple[Fault, ...]])
    choices: "WorldChoices" = field(default_factory=lambda: WorldChoices())
    faults: tuple[Fault, ...] = field(default=(), compare=False)
    genre_part: str = field(default="", compare=False)
    world_part: str = field(default="", compare=False)
    source: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """`genre/world`, as `--world` takes it."""
        return f"{self.genre}/{self.name}"

    @property
    def is_empty(self) -> bool:
        """True where it shows nothing, and nothing is wrong with it."""
        return not self.subjects and not self.faults

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
    """One adapter of a genre. `dataset` is its folder under `content/lora-datasets`, None for an external file, which
    may have `reference` there: a folder of pictures in its style.

    `asset_folder`: where its assets are, in Dagster's words. `elsewhere`: where its file is, if not below
    `content/lora`.
    """

    genre: str
    name: str
    file: str
    tier: str
    trigger: str | None
    dataset: str | None
    asset_folder: str = field(default="", compare=False)
    elsewhere: str = field(default="", compare=False)
    reference: str | None = None

    @property
    def key(self) -> str:
        """`genre/name`."""
        return f"{self.genre}/{self.name}"

    @property
    def place(self) -> str:
        """Where its file is, or is to be, from the data directory."""
        return self.elsewhere or f"content/lora/{self.file}"


@dataclass(frozen=True)
class Catalog:
    """All content of a data directory. `faults` are by world; what of a world is sound is there all the same."""

    worlds: Mapping[str, World]
    adapters: Mapping[str, Adapter]
    faults: Mapping[str, tuple[Fault, ...]]
    warnings: tuple[Fault, ...] = ()

    def first_world_of(self, adapter: Adapter) -> World | None:
        """The first world whose style has the adapter; its base model is what the adapter is for."""
        worlds = (world for world in self.worlds.values() if world.genre == adapter.genre)
        return next((world for world in worlds if any(entry.name == adapter.name for entry in world.entries)), None)

    def select(self, world: str | None) -> tuple[World, ...]:
        """The world that is meant, or all; raises SelectionError for one that is not there."""
        if world is None:
            return tuple(self.worlds.values())
        if world in self.worlds:
            return (self.worlds[world],)
        known = sorted(self.worlds)
        genre = world.partition("/")[0]
        problem = f"there is no world {world!r}"
        if "/" in world and not any(key.startswith(f"{genre}/") for key in known):
            problem = f"there is no genre {genre!r}"
        raise SelectionError(Fault("", "--world", problem, f"known are {', '.join(known) or 'none'}"))
