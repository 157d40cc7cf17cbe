"""A tier of a world as it stands, and what its assets are called. Not here: finding out (`world_status`)."""

from dataclasses import dataclass, field
from typing import Any

from sq_pipeline.common.tiers import TIER_NAMES, Tier, TierNames
from sq_pipeline.content.prompts import Prompt
from sq_pipeline.content.records import Choice, Subject, World
from sq_pipeline.pipeline.context import Step
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.store import Record


@dataclass(frozen=True)
class AppliedEntry:
    """One adapter of a stack with the promoted file behind it."""

    name: str
    lora_scale: float
    record: Record


@dataclass(frozen=True)
class KeptPicture:
    """A picture that a person locked or adopted. `otherwise`: why it would be made again, were it not; `inputs`: from
    what, empty where that is not known.
    """

    choice: Choice
    otherwise: tuple[str, ...]
    inputs: Inputs = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class WorldState:
    """A tier of a world as it stands. By slug: `prompts` and `pictures`; `texts`, what prompts say; `faults`, why there
    is none; `kept`, which pictures a person keeps.
    """

    world: World
    tier: Tier
    stack: Step
    entries: tuple[AppliedEntry, ...]
    prompts: dict[str, Step] = field(default_factory=dict)
    texts: dict[str, Prompt] = field(default_factory=dict)
    faults: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: dict[str, Step] = field(default_factory=dict)
    kept: dict[str, KeptPicture] = field(default_factory=dict[str, KeptPicture])
    gallery: Step | None = None

    @property
    def key(self) -> str:
        """What to call it: the world, and the tier where it is not the places'."""
        return self.world.key if self.tier == "landscape" else f"{self.world.key} ({self.tier})"

    @property
    def names(self) -> TierNames:
        """What its assets are called."""
        return TIER_NAMES[self.tier]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What its pictures are of."""
        return self.world.subjects.get(self.tier, ())

    @property
    def versions(self) -> list[tuple[str, float]]:
        """The stack as fingerprints hold it: each adapter's data version and scale."""
        return [(entry.record.data_version, entry.lora_scale) for entry in self.entries]

    @property
    def lacks_stack(self) -> bool:
        """True where nothing may be rendered yet."""
        return self.stack.status in ("pending", "blocked")

    def steps(self) -> list[Step]:
        """Every step, in the order of making."""
        last = [self.gallery] if self.gallery is not None else []
        return [self.stack, *self.prompts.values(), *self.pictures.values(), *last]


def world_folder(world: World) -> str:
    """`<genre>/worlds/<world>`, in which all assets of a world are, with the names as Dagster's keys hold them."""
    return f"{world.genre_part}/worlds/{world.world_part}"


def world_asset(world: World, name: str, slug: str | None = None) -> str:
    """`<genre>/worlds/<world>/<name>`, with a slug after `:` for one partition."""
    return f"{world_folder(world)}/{name}{f':{slug}' if slug else ''}"
