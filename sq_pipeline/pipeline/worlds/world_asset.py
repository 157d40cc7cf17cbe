"""What a kind of asset of a world is: a record that the status, the making and Dagster's assets all walk.

Not here: which kinds there are (`world_assets`), and what each does (a file each).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sq_pipeline.common.tiers import TIER_NAMES, Tier
from sq_pipeline.content.records import Subject, World
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.shown import Shown
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.world_state import WorldState

Part = Literal["stack", "prompts", "images", "gallery"]


@dataclass(frozen=True)
class Made:
    """What is there now, of a subject where it is one's; `is_made` tells whether work was done for it."""

    record: Record
    is_made: bool
    subject: Subject | None = None


@dataclass(frozen=True)
class Failed:
    """A subject whose asset could not be made, and why. `may_pass`: trying again may help; `trace` is for the log.

    `waits`: nothing went wrong; a person has to say something first.
    """

    subject: Subject
    reason: str
    may_pass: bool = True
    waits: bool = False
    trace: str = ""


def _inputs_and_info(record: Record) -> Mapping[str, Any]:
    return {**record.inputs, **record.info}


@dataclass(frozen=True)
class WorldAsset:
    """A kind of asset of a tier of a world. One that `is_by_subject` is many: one of each subject.

    `upstream`: the kinds it is made from. `sources`: where its own inputs come from, see `pipeline.sources`, where
    `{tier}` stands for the tier.
    `enter_status`: enters how it stands into the state, after those upstream.
    `steps`: where it entered that, by slug, or under `""`. `make`: makes those of these slugs that the store has not;
    one that is not by subject raises where it cannot be made. `figures` and `shows`: what its page shows. `another`:
    how a person gets another one than is there. `tags`: words that the pages can be filtered by, at most three.
    `adapters`: the names of those that it was made with, which its page links to.
    """

    part: Part
    upstream: tuple[Part, ...]
    sources: tuple[str, ...]
    enter_status: Callable[[Context, WorldState], WorldState]
    steps: Callable[[WorldState], Mapping[str, Step]]
    make: Callable[[Context, WorldState, Collection[str]], Iterable[Made | Failed]]
    description: Callable[[World, Tier], str]
    figures: Callable[[Record], Mapping[str, Any]] = _inputs_and_info
    shows: tuple[Shown, ...] = ()
    another: str = ""
    is_by_subject: bool = False
    uses_gpu: Callable[[World, Tier], bool] = lambda _world, _tier: False
    tags: tuple[str, ...] = ()
    adapters: Callable[[Record], Sequence[str]] = lambda _record: ()

    def name(self, tier: Tier) -> str:
        """The last part of its asset keys."""
        return getattr(TIER_NAMES[tier], self.part)
