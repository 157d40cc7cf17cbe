"""What a person keeps comes back to its place by itself, as `run` puts it there, whatever its world cannot make."""

import shutil
from collections.abc import Callable

import pytest
from dagster import DagsterRunStatus

from sq_pipeline.defs.run_tags import LINE_TAG
from sq_pipeline.pipeline.choices.choose import lock
from sq_pipeline.pipeline.worlds.world_status import world_state_of
from sq_pipeline_tests.defs.ticks import Ticks, assets, launch
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import lora, write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_choices import choose, context_of, file_of

OLD, KEPT = "west/worlds/old", "west/worlds/old/kept"
WEST = lora("west_land", "west/landscape", trigger="west")


def a_missing_adapter(game: Game) -> None:
    loras = [WEST, lora("ghost", "west/ghost", trigger="west_ghost")]
    game.edit("visual_style.yaml", {"loras": loras, "positive_suffix": "very wide"})


def an_adapter_to_be_trained(game: Game) -> None:
    a_missing_adapter(game)
    write_dataset(game.data.datasets_root / "west/ghost", "west_ghost", 4)


def an_adapter_that_waits_for_a_promotion(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    an_adapter_to_be_trained(game)
    game.run("west/old")
    game.edit("visual_style.yaml", {"positive_suffix": "wider"})


def no_adapter_that_applies(game: Game) -> None:
    game.edit("visual_style.yaml", {"loras": [{**WEST, "applies_to": ["portrait"]}]})


def nothing_made_as_after_a_clone(game: Game) -> None:
    for path in (game.data.store_root / "records", game.data.store_root / "objects", game.data.lora_root):
        shutil.rmtree(path)
    (game.data.store_root / "records.sqlite").unlink()


def a_stack_that_fails(game: Game) -> None:
    """Of two adapters, which are rendered together before they are used."""
    an_adapter_to_be_trained(game)
    write_yaml(game.data.world_root("west", "paper") / "visual_style.yaml", {})
    game.run("west/paper")
    game.engines.renderer.fails_when = lambda _request: True


def a_neighbour_that_fails(game: Game) -> None:
    game.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    game.engines.renderer.fails_when = lambda _request: True


WHAT = [a_missing_adapter, an_adapter_to_be_trained, an_adapter_that_waits_for_a_promotion, no_adapter_that_applies,
        nothing_made_as_after_a_clone, a_stack_that_fails, a_neighbour_that_fails]  # fmt: skip


@pytest.mark.takes(s=60)
@pytest.mark.parametrize("happens", WHAT)
def test_it_is_put_back_each_time_its_file_is_gone(happens: Callable[[Game], None], done: Game) -> None:
    choose(done, lock)
    was = file_of(done).read_bytes()
    happens(done)
    file_of(done).unlink()
    ticks = Ticks(done)
    failed: set[str] = set()
    for _ in range(2):
        requests = [each for each in ticks.tick("content")[0] if each.tags[LINE_TAG].startswith(OLD)]
        assert assets(requests[0]) == [f"{OLD}/poi_images"]
        failed |= {each.tags[LINE_TAG] for each in requests if not launch(ticks, *assets(each), tags=each.tags).success}
        assert file_of(done).read_bytes() == was
        file_of(done).unlink()
    assert failed == ({OLD} if happens in (a_stack_that_fails, a_neighbour_that_fails) else set())
    done.run()
    assert file_of(done).read_bytes() == was


@pytest.mark.parametrize("happens", WHAT[:5])
def test_meanwhile_its_world_can_make_no_picture(happens: Callable[[Game], None], done: Game) -> None:
    """So the cases above are what they say."""
    choose(done, lock)
    happens(done)
    file_of(done).unlink()
    context = context_of(done)
    assert world_state_of(context, context.catalog.worlds["west/old"], "landscape").lacks_stack


def test_one_that_failed_to_be_put_back_waits_as_others_do(done: Game) -> None:
    choose(done, lock)
    file_of(done).unlink()
    ticks = Ticks(done)
    ((request,), _) = ticks.tick("content")
    ticks.pretend(request, DagsterRunStatus.FAILURE)
    assert ticks.tick("content")[1].startswith(f"{KEPT}: failed with these inputs; next try at ")
    choose(done, lock, name="west/old/mine")
    done.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    assert [each.tags[LINE_TAG] for each in ticks.tick("content")[0]] == [OLD, "west/worlds/paper"]
