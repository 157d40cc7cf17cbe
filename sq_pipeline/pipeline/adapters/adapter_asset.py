"""What a kind of asset of an adapter is: a record that the status, the making and Dagster's assets all walk.

Not here: which kinds there are (`adapter_assets`), and what each does (a file each).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.content.records import Adapter
from sq_pipeline.pipeline.context import Context, Step
from sq_pipeline.pipeline.inputs import Inputs
from sq_pipeline.pipeline.shown import Shown
from sq_pipeline.pipeline.store import Record
from sq_pipeline.training.progress import TrainingSnapshot

Steps = Mapping[str, Step]


class PersonsWord(BaseModel):
    """What a person may say when an asset is to be made; which of it is heard is the asset's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str | None = Field(default=None, description="Who says so.")
    because: str | None = Field(default=None, description="Why, where a check failed.")
    iteration: int | None = Field(default=None, description="The kept checkpoint that is to be used.")
    roll_back_to: str | None = Field(
        default=None,
        description="The first digits of the version that is put back in use, or `previous` for the one before.",
    )


NO_WORD = PersonsWord()


@dataclass(frozen=True)
class Making:
    """One asset of an adapter that is to be made: its step, and all steps of the adapter.

    `steps_of` gives those of another adapter. `publish` gets snapshots of a training while it runs. `by`: the person
    who asks for it, if one does.
    """

    context: Context
    adapter: Adapter
    step: Step
    steps: Steps
    log: logging.Logger
    steps_of: Callable[[Adapter], Steps]
    publish: Callable[[TrainingSnapshot], None] = lambda _: None
    by: str | None = None

    def upstream(self, name: str) -> Record:
        """The record of a step upstream, which is there whenever something is made."""
        return made(self.steps, name)


@dataclass(frozen=True)
class AssetCheck:
    """A verdict over an asset, which stops what follows when it fails.

    `refusal`: the error that making it raises in place of a record that does not pass. `sentence`: the verdict in one.
    """

    name: str
    has_passed: Callable[[Record], bool]
    metadata: Callable[[Record], Mapping[str, Any]]
    refusal: type[SqPipelineError] | None = None
    sentence: Callable[[Record], str] = lambda _record: ""


def _all(record: Record) -> Mapping[str, Any]:
    return record.info


def _as_it_is(_context: Context, _adapter: Adapter, step: Step, _steps: Steps) -> Step:
    return step


def _nothing(_making: Making) -> None:
    return


def _enter_nothing(_context: Context, _adapter: Adapter, _steps: Steps, _word: PersonsWord) -> None:
    return


@dataclass(frozen=True)
class AdapterAsset:
    """A kind of asset of an adapter.

    `upstream`: the kinds it is made from, the nearest first; it waits for these alone. `sources`: where its own inputs
    come from, see `pipeline.sources`. `inputs`: what it would be made from now, once those upstream are there.
    `make`: makes it, and returns its record. `refine`: what else decides how it stands, such as a person's yes.
    `hears`: the fields of a person's word that its launchpad asks for; `enter`: writes down what was said, before it is
    made. `tidy`: removes what earlier tries left, before it is made and after. `figures` and `shows`: what its page
    shows. `tags`: words that the pages can be filtered by, at most three.
    `can_lack`: objects of its record that nothing is made from, so it is not made again for them.
    `is_placed`: making it puts a file outside the store, so a record alone does not make it again.
    """

    name: str
    upstream: tuple[str, ...]
    inputs: Callable[[Context, Adapter, Steps], Inputs]
    make: Callable[[Making], Record]
    description: Callable[[Adapter], str]
    figures: Callable[[Record], Mapping[str, Any]] = _all
    shows: tuple[Shown, ...] = ()
    check: AssetCheck | None = None
    sources: tuple[str, ...] = ()
    refine: Callable[[Context, Adapter, Step, Steps], Step] = _as_it_is
    tidy: Callable[[Making], None] = _nothing
    hears: tuple[str, ...] = ()
    enter: Callable[[Context, Adapter, Steps, PersonsWord], None] = _enter_nothing
    can_lack: tuple[str, ...] = ()
    is_for_trained: bool = False
    is_placed: bool = False
    uses_gpu: bool = False
    tags: tuple[str, ...] = ()


def made(steps: Steps, name: str) -> Record:
    """The record of a step that is known to be there."""
    record = steps[name].record
    assert record is not None, name
    return record
