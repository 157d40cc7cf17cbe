"""What became of each picture of a world in a run, counted. Not here: how it is said (`cli.terminal.summary`)."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sq_pipeline.pipeline.context import Step
from sq_pipeline.pipeline.worlds.world_state import WorldState

Outcome = Literal["rendered", "put in place", "fresh", "waiting", "not made"]


@dataclass(frozen=True)
class Tally:
    """One tier of a world: `world` is `genre/world`. Every picture is counted once."""

    world: str
    tier: str
    counts: Mapping[Outcome, int]


def tally_of(state: WorldState, due: Collection[str], made: Collection[str]) -> Tally:
    """`state` is as it was in the end; `due` are the assets that were to do, `made` those that work was done for."""
    counts: Counter[Outcome] = Counter(_outcome(step, due, made) for step in state.pictures.values())
    return Tally(state.world.key, state.tier, counts)


def _outcome(step: Step, due: Collection[str], made: Collection[str]) -> Outcome:
    if step.status == "waiting":
        return "waiting"
    if step.status != "fresh":
        return "not made"
    if step.asset in made:
        return "rendered"
    return "put in place" if step.asset in due else "fresh"
