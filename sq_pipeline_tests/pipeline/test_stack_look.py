"""Several adapters of a world's tier are looked at together: when, what for, and what is told of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.fingerprints import fingerprint
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.instance import open_instance
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.inputs import stack_inputs
from sq_pipeline.pipeline.store import Record
from sq_pipeline.pipeline.worlds.stack_look import CHECK
from sq_pipeline.pipeline.worlds.world_state import WorldState
from sq_pipeline.pipeline.worlds.world_status import world_state_of
from sq_pipeline_tests.defs.staleness import stale_in_dagster
from sq_pipeline_tests.pipeline.fast import lora, write_yaml
from sq_pipeline_tests.pipeline.game import Game

STACK = "west/worlds/paper/stack"


def state_of(game: Game, world: str = "west/paper") -> WorldState:
    context = Context(game.data, game.engines(game.data))
    return world_state_of(context, context.catalog.worlds[world], "landscape")


def record_of(game: Game) -> Record:
    record = state_of(game).stack.record
    assert record is not None
    return record


def set_scale(game: Game, scale: float) -> None:
    add = [lora("paper_land", "west/paper/landscape", trigger="west_paper", scale=scale)]
    write_yaml(game.data.genre_root("west") / "worlds/paper/visual_style.yaml", {"loras": {"add": add}})


def set_thresholds(game: Game, **thresholds: Any) -> None:
    settings = {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0, **thresholds}}
    write_yaml(game.data.settings_file, settings)


def own_prompts(game: Game) -> Path:
    """The landscape's prompts, in files of the game's own."""
    folder = game.data.verify_prompts_root
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    folder.unlink()  # a link to what is shipped
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder / "landscape.yaml"


@pytest.fixture(scope="session")
def finished_two(finished: DataDir, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The world `paper` with the genre's adapter beside its own, up to date; each test works on a copy."""
    data = DataDir(tmp_path_factory.mktemp("two") / "data")
    shutil.copytree(finished.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        game = Game(data, instance)
        set_scale(game, 1.0)
        assert game.run().failed == []
    return data


@pytest.fixture
def two(finished_two: DataDir, tmp_path: Path) -> Iterator[Game]:
    """Such a game, whose engines were asked for nothing yet."""
    data = DataDir(tmp_path / "two")
    shutil.copytree(finished_two.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        yield Game(data, instance)


def test_a_stack_of_several_is_looked_at_once(done: Game) -> None:
    assert CHECK not in (record_of(done).info)  # one adapter alone is in nobody's way
    set_scale(done, 1.0)
    before = len(done.engines.renderer.requests)
    report = done.run()
    record = record_of(done)
    assert record.info[CHECK]["verdicts"][0]["check"] == "shown in the stack: west_land"
    assert set(record.objects) == {"sheet", "report_json"}
    looked_at = [request for request in done.engines.renderer.requests[before:] if not request.must_be_whole]
    assert len({request.adapters for request in looked_at if request.adapters}) == 3
    assert len(report.rendered) == 2  # the places of this world
    again = len(done.engines.renderer.requests)
    done.run()
    assert len(done.engines.renderer.requests) == again


def test_an_edited_prompt_looks_again_and_renders_no_picture(two: Game) -> None:
    version = record_of(two).data_version
    path = own_prompts(two)
    assert state_of(two).stack.status == "fresh"
    path.write_text(path.read_text().replace("prompt: ", "prompt: wide ", 1))
    assert state_of(two).stack.status == "pending"  # its adapters are verified with them first
    assert two.run().rendered == []
    assert record_of(two).inputs["check.prompts"][0][0].startswith("wide ")
    assert record_of(two).data_version == version


def test_the_control_word_is_nothing_to_it(two: Game) -> None:
    path, made = own_prompts(two), record_of(two).fingerprint
    path.write_text(path.read_text().replace("orrpelllorn", "quillomarsh"))
    assert two.run().verified
    assert record_of(two).fingerprint == made
    assert not [request for request in two.engines.renderer.requests if len(request.adapters) > 1]


def test_another_scale_is_another_stack(two: Game) -> None:
    set_scale(two, 0.5)
    assert len(two.run().rendered) == 2
    assert record_of(two).info["adapters"][1]["lora_scale"] == 0.5


def test_what_falls_short_is_a_warning_of_plan_and_run_also_of_a_settled_world(two: Game) -> None:
    assert not [text for text in two.plan()["warnings"] if "stack" in text]
    set_thresholds(two, gate={"stack_shown": {"value": 5.0, "reason": "a test"}})
    report = two.run()
    assert report.rendered == report.verified == report.failed == []
    for _ in range(2):
        (told,) = [text for text in two.plan()["warnings"] if "stack" in text]
        assert told.startswith("west/paper: landscape stack: west_land shows ")
        assert "look at the sheet" in told
    assert any("stack" in text for text in report.warnings)


@pytest.mark.parametrize("tier", ["landscape", "portrait"])
def test_a_limit_for_one_tier(two: Game, tier: str) -> None:
    set_thresholds(two, gate_for={tier: {"stack_shown": {"value": 5.0, "reason": "a test"}}})
    assert state_of(two).stack.status == ("stale" if tier == "landscape" else "fresh")


def test_a_stack_that_was_settled_before_stacks_were_looked_at_stands(two: Game) -> None:
    state, context = state_of(two), Context(two.data, two.engines(two.data))
    inputs = stack_inputs(state.versions)
    record = record_of(two)
    older = Record(
        kind="stack",
        fingerprint=fingerprint(inputs),
        inputs=inputs,
        data_version=record.data_version,
        info={"adapters": record.info["adapters"]},
    )
    context.store.write_record(older)
    context.store.write_current(STACK, older)
    assert state_of(two).stack.status == "fresh"
    assert two.plan()["stale"] == []
    set_thresholds(two, gate={"stack_shown": {"value": 0.1, "reason": "a test"}})  # which nobody could ask then
    assert state_of(two).stack.status == "stale"


def test_without_prompts_it_is_settled_and_looked_at_once_they_are_there(two: Game) -> None:
    path = own_prompts(two)
    text = path.read_text()
    path.unlink()
    two.run()
    assert CHECK not in record_of(two).info
    path.write_text(text)
    assert two.run().rendered == []
    assert CHECK in record_of(two).info


def test_worlds_with_the_same_stack_share_its_pictures(two: Game) -> None:
    folder = two.data.genre_root("west") / "worlds"
    (folder / "other").mkdir()
    for name in ("history.yaml", "visual_style.yaml"):
        (folder / "other" / name).write_text((folder / "paper" / name).read_text())
    two.run()
    assert state_of(two, "west/other").stack.record is not None
    assert not [request for request in two.engines.renderer.requests if not request.must_be_whole]


def test_the_plan_says_how_many_pictures_a_look_takes(two: Game) -> None:
    assert two.plan()["stack_pictures"] == 0
    set_scale(two, 0.5)
    assert two.plan()["stack_pictures"] == 3 * 4


def test_dagster_shows_as_stale_what_the_plan_says(two: Game) -> None:
    defs = build_defs(data=two.data, make_engines=two.engines)
    assert stale_in_dagster(defs, two.instance) == set()
    path = own_prompts(two)
    path.write_text(path.read_text().replace("prompt: ", "prompt: wide ", 1))
    planned = {step["asset"] for step in two.plan()["stale"]}
    assert STACK in planned
    two.run()
    assert stale_in_dagster(build_defs(data=two.data, make_engines=two.engines), two.instance) == set()
