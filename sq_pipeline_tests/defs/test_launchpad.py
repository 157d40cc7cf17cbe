"""A person's yes and choice from the launchpad: what they write into an asset's config."""

from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from sq_pipeline.pipeline.adapters.adapter_asset import PersonsWord
from sq_pipeline.pipeline.adapters.adapter_assets import ADAPTER_ASSETS
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline.training.checkpoint_choices import read_choices
from sq_pipeline_tests.defs.ticks import Ticks, launch, reasons_of, run_of
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_checkpoint_choice import keep_checkpoints

LAND = "west/loras/west_land"
PROMOTED, CHOSEN = f"{LAND}/promoted_adapter", f"{LAND}/chosen_checkpoint"


@pytest.fixture
def waits(game: Game) -> Ticks:
    """Verified, and not promoted."""
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    game.run()
    return Ticks(game)


@pytest.fixture
def kept(done: Game, tmp_path: Path) -> Ticks:
    """Trained with three checkpoints to choose among."""
    keep_checkpoints(done, tmp_path)
    return Ticks(done)


def failure(ticks: Ticks, instance: DagsterInstance, run_id: str) -> str:
    """What the run's page shows of its failed step."""
    (event,) = [
        entry.dagster_event.step_failure_data
        for entry in instance.all_logs(run_id)
        if entry.dagster_event is not None and entry.dagster_event.is_step_failure
    ]
    assert event.user_failure_data is not None  # a refusal, not a crash
    return event.user_failure_data.description or ""


def test_the_tick_says_whose_yes_is_missing(waits: Ticks) -> None:
    requests, told = waits.tick("adapters")
    assert not requests
    assert told.splitlines()[0] == "waits for your yes: west_land, paper_land"


def test_without_a_name_it_is_refused_in_a_line(waits: Ticks) -> None:
    result = launch(waits, PROMOTED)
    assert not result.success
    told = failure(waits, waits.game.instance, result.run_id)
    assert len(told.splitlines()) == 1
    assert "waits for a person" in told
    assert "or launch `promoted_adapter` with `by` in its config" in told
    assert "Traceback" not in told


def test_with_a_name_it_is_promoted(waits: Ticks) -> None:
    result = launch(waits, PROMOTED, config={"by": "Ana"})
    assert result.success
    assert read_manifest(waits.game.data, "west")["west_land"]["promoted_by"] == "Ana"
    assert reasons_of(result) == {PROMOTED: "said by Ana"}
    assert run_of(waits, result).tags["sq/reasons"] == "promoted_adapter: said by Ana"
    assert waits.tick("adapters")[1].splitlines()[0] == "waits for your yes: paper_land"


@pytest.fixture
def twice(done: Game) -> Ticks:
    """Two versions were in use, one after the other."""
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 7"))
    done.run()
    return Ticks(done)


def test_an_earlier_version_is_put_back(twice: Ticks) -> None:
    data = twice.game.data
    newest = read_manifest(data, "west")["west_land"]["adapter_version"]
    assert launch(twice, PROMOTED, config={"by": "Ana", "roll_back_to": "previous", "because": "softer"}).success
    entry = read_manifest(data, "west")["west_land"]
    assert (entry["promoted_by"], entry["act"], entry["because"]) == ("Ana", "rollback", "softer")
    assert entry["adapter_version"] != newest
    assert twice.tick("adapters")[0] == []  # it stays
    assert launch(twice, PROMOTED, config={"by": "Ana", "roll_back_to": newest.removeprefix("sha256:")[:12]}).success
    assert read_manifest(data, "west")["west_land"]["adapter_version"] == newest


def test_what_cannot_be_put_back_is_told_in_a_line(twice: Ticks) -> None:
    before = read_manifest(twice.game.data, "west")
    for config, told in (
        ({"by": "Ana", "roll_back_to": "0000"}, "no version begins with '0000'"),
        ({"by": "Ana", "roll_back_to": ""}, "no version begins with ''"),
        ({"roll_back_to": "previous"}, "nobody is named"),
    ):
        result = launch(twice, PROMOTED, config=config)
        assert not result.success
        assert told in failure(twice, twice.game.instance, result.run_id)
        assert read_manifest(twice.game.data, "west") == before


@pytest.mark.parametrize("by", ["", "  ", None])
def test_no_name_is_no_yes(waits: Ticks, by: str | None) -> None:
    before = read_manifest(waits.game.data, "west")
    assert not launch(waits, PROMOTED, config={"by": by}).success
    assert read_manifest(waits.game.data, "west") == before


def test_what_failed_is_not_promoted_by_anybody(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_changed_max": 0.001}})
    game.run()
    ticks = Ticks(game)
    result = launch(ticks, PROMOTED, config={"by": "Ana"})
    assert not result.success
    assert "did not pass verification" in failure(ticks, game.instance, result.run_id)
    assert "waits for your yes" not in ticks.tick("adapters")[1]
    result = launch(ticks, PROMOTED, config={"by": "Ana", "because": " "})
    assert "because: is empty" in failure(ticks, game.instance, result.run_id)
    assert read_manifest(game.data, "west") == {}


def test_what_failed_is_promoted_with_a_reason_that_its_page_keeps(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_changed_max": 0.001}})
    game.run()
    ticks = Ticks(game)
    result = launch(ticks, PROMOTED, config={"by": "Ana", "because": "it is meant to"})
    assert result.success
    entry = read_manifest(game.data, "west")["west_land"]
    assert (entry["promoted_by"], entry["because"]) == ("Ana", "it is meant to")
    (made,) = result.asset_materializations_for_node(PROMOTED.replace("/", "__"))
    assert made.metadata["because"].value == "it is meant to"
    assert "picture changed: " in str(made.metadata["failed"].value)
    assert game.run().rendered
    (sheet,) = game.instance.fetch_materializations(AssetKey(["west", "worlds", "old", "gallery"]), limit=1).records
    assert sheet.asset_materialization is not None
    told = str(sheet.asset_materialization.metadata["adapters in use"].value)
    assert "promoted by Ana" in told
    assert "because it is meant to; it did not pass: picture changed: " in told


def test_another_checkpoint_is_chosen(kept: Ticks) -> None:
    result = launch(kept, CHOSEN, config={"iteration": 2, "by": "Ana"})
    assert result.success
    choice = read_choices(kept.game.data, "west")["west_land"]
    assert (choice.iteration, choice.by) == (2, "Ana")
    (made,) = result.asset_materializations_for_node(CHOSEN.replace("/", "__"))
    assert made.metadata["iteration"].value == 2
    assert made.metadata["chosen_by"].value == "Ana"
    assert any(item["asset"] == f"{LAND}/mflux_adapter" for item in kept.game.plan()["stale"])


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"iteration": 5, "by": "Ana"}, "iteration: iteration 5 was not kept; choose 1 or 2 or 3"),
        ({"iteration": 0, "by": "Ana"}, "iteration: iteration 0 was not kept; choose 1 or 2 or 3"),
        ({"iteration": 2}, "by: nobody is named; say who chooses it"),
        ({"iteration": 2, "by": " "}, "by: nobody is named; say who chooses it"),
        ({"by": "Ana"}, "iteration: say which checkpoint; choose 1 or 2 or 3"),
        ({"iteration": 5}, "by: nobody is named; say who chooses it"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(kept: Ticks, config: dict[str, Any], told: str) -> None:
    result = launch(kept, CHOSEN, config=config)
    assert not result.success
    assert told in failure(kept, kept.game.instance, result.run_id)
    assert read_choices(kept.game.data, "west") == {}


def test_without_a_word_all_is_as_ever(kept: Ticks) -> None:
    assert launch(kept, CHOSEN).success
    assert launch(kept, CHOSEN, config={}).success
    assert read_choices(kept.game.data, "west") == {}


def test_what_an_asset_hears_is_in_its_record() -> None:
    heard = {kind.name: kind.hears for kind in ADAPTER_ASSETS.values() if kind.hears}
    assert heard == {
        "chosen_checkpoint": ("iteration", "by"),
        "promoted_adapter": ("by", "because", "roll_back_to"),
    }
    assert all(set(names) <= set(PersonsWord.model_fields) for names in heard.values())


def test_the_pages_of_pictures_say_that_a_newer_adapter_waits(done: Game) -> None:
    """They are not made again for it."""
    gallery = AssetKey(["west", "worlds", "old", "gallery"])

    def told() -> list[str]:
        records = done.instance.fetch_observations(AssetRecordsFilter(gallery), limit=9).records
        found = [record.asset_observation for record in records]
        return [str(event.metadata["adapters in use"].value) for event in found if event is not None]

    assert told() == []
    write_yaml(done.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    recipe = done.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1", "seed: 5"))
    assert done.run().rendered == []
    (note,) = told()
    assert note.startswith("west_land: in use: version ")
    assert note.endswith(" waits for a person")
    done.run()
    assert len(told()) == 1
    recipe.write_text(recipe.read_text().replace("seed: 5", "seed: 1"))
    done.run()
    assert told() == ["the newest that were promoted", note]
