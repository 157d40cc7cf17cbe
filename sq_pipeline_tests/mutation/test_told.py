"""Whatever is edited, and however it was made: once it is told, Dagster shows as stale what `plan` does, exactly.

Nothing here is made by Dagster, so all that it knows it was told. Not here: what must be made again (`test_mutation`).
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
from dagster import DagsterInstance

from sq_pipeline.defs import adapter_assets, world_assets
from sq_pipeline.defs import told as telling
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.told import tell
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.plan import make_plan
from sq_pipeline.pipeline.worlds.world_state import world_asset
from sq_pipeline_tests.defs.staleness import stale_in_dagster
from sq_pipeline_tests.mutation.bench import at_machine, bring_up, engines_of, perform_acts
from sq_pipeline_tests.mutation.choice_edits import CHOICE_EDITS
from sq_pipeline_tests.mutation.edits import EDITS as OTHER_EDITS
from sq_pipeline_tests.mutation.game import Game
from sq_pipeline_tests.mutation.game_files import files_of, write_files
from sq_pipeline_tests.mutation.test_mutation import Bench, _fast, bench, finished, scratch  # noqa: F401 - fixtures
from sq_pipeline_tests.mutation.tier_edits import TIER_EDITS

EDITS = [*OTHER_EDITS, *TIER_EDITS, *CHOICE_EDITS]
TURNS, SEQUENCES = 6, 6
EACH = 2  # a look takes a second: every other edit, and the sequences meet the rest


class Pages:
    """A game's instance: what it shows after it was told."""

    def __init__(self, of: Bench, instance: DagsterInstance) -> None:
        self._bench, self._instance = of, instance

    def write(self, game: Game) -> None:
        files = files_of(game)
        write_files(files, self._bench.data.root, self._bench.files)
        perform_acts(self._bench.data, game, files)
        self._bench.files, self._bench.game = files, game

    def make(self) -> None:
        bring_up(self._bench.data, self._bench.game)

    def look(self) -> tuple[set[str], set[str], set[str]]:
        """What is stale in Dagster, what in the plan, and what waits or is blocked there."""
        data, game = self._bench.data, self._bench.game
        with at_machine(game.machine):
            engines, _, _ = engines_of(game.machine)
            context = Context(data, engines)
            found = make_plan(context, None)
            assert tell(self._instance, context, found) == []
            defs = build_defs(data=data, make_engines=lambda _: engines)
            steps = list(found.steps())
            planned = {step.asset for step in steps if step.is_to_do}
            stopped = {step.asset for step in steps if step.status in ("waiting", "blocked")}
            # of what is blocked nobody asks how its prompt or gallery is
            for of in found.worlds:
                unknown = {subject.slug for subject in of.subjects} - of.prompts.keys()
                stopped |= {world_asset(of.world, of.names.prompts, slug) for slug in unknown}
                stopped |= {world_asset(of.world, of.names.gallery)} if of.gallery is None else set()
            return stale_in_dagster(defs, self._instance), planned, stopped


@pytest.fixture
def pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:  # noqa: F811
    for module in (adapter_assets, world_assets):  # a gallery of these games is no picture
        monkeypatch.setattr(module, "metadata_of", lambda *_: {})
    with DagsterInstance.ephemeral() as instance:
        pages = Pages(bench, instance)
        assert pages.look() == (set(), set(), set())
        yield pages


def compare(pages: Pages, said: object = "") -> None:
    """Equal, but for what waits or is blocked: where something upstream is new, that may be marked too."""
    shown, planned, stopped = pages.look()
    assert shown - stopped == planned, said
    assert planned <= shown, said


def in_turn(count: int) -> list[Any]:
    """The first of them is in the quick part."""
    return [pytest.param(number, marks=() if number == 0 else pytest.mark.long) for number in range(count)]


@pytest.mark.long
@pytest.mark.parametrize("turn", range(TURNS))
def test_every_edit_and_what_was_made_of_the_one_before(turn: int, pages: Pages, bench: Bench) -> None:  # noqa: F811
    first = bench.game
    for edit in EDITS[turn :: EACH * TURNS]:
        game = copy.deepcopy(first)
        edit.change(game)
        pages.write(game)
        compare(pages, edit.name)
        pages.make()


@pytest.mark.parametrize("seed", in_turn(SEQUENCES))
def test_edits_in_a_row_some_of_them_never_made(seed: int, pages: Pages, bench: Bench) -> None:  # noqa: F811
    numbers = random.Random(f"told {seed}")
    games, said = [copy.deepcopy(bench.game)], list[str]()
    for _ in range(5):
        game = copy.deepcopy(numbers.choice(games))
        edit = numbers.choice(EDITS)
        edit.change(game)
        games.append(game)
        said.append(edit.name)
        pages.write(game)
        if numbers.random() < 0.5:
            pages.make()
            said.append("made")
        compare(pages, f"seed {seed}: {'; '.join(said)}")


def test_what_is_not_told_is_noticed(pages: Pages, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Without what these tests are for, they fail."""
    monkeypatch.setattr(telling.AssetEvents, "observe", lambda *_: None)
    game = copy.deepcopy(bench.game)
    next(edit for edit in EDITS if edit.name == "genre: positive_suffix").change(game)
    pages.write(game)
    shown, planned, _ = pages.look()
    assert planned
    assert shown != planned
