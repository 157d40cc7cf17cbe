"""Why something was made, or nothing: in the run's tags, in the tick, and beside what was made."""

from typing import Any

import pytest

from sq_pipeline.common.text import printable
from sq_pipeline.defs.run_tags import REASONS_TAG, tags_for
from sq_pipeline.pipeline.context import Step
from sq_pipeline.pipeline.reasons import NOTHING_MADE
from sq_pipeline_tests.defs.ticks import Ticks, assets, burn_the_mill, launch, reasons_of, run_of
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import lora, write_yaml
from sq_pipeline_tests.pipeline.game import Game

OLD = "west/worlds/old"


@pytest.fixture
def ticks(done: Game) -> Ticks:
    return Ticks(done)


def test_an_edit_is_told_old_to_new_wherever_a_person_looks(ticks: Ticks) -> None:
    burn_the_mill(ticks.game, "a mill")
    ticks.game.run()
    burn_the_mill(ticks.game, "a barn")
    ((request,), told) = ticks.tick("content")
    assert not told  # Dagster takes a reason only beside no request
    assert "mill: " in request.tags[REASONS_TAG]
    assert "mill → barn" in request.tags[REASONS_TAG]
    assert any("mill → barn" in line for line in ticks.logged)
    result = launch(ticks, *assets(request), tags=request.tags)
    assert "mill → barn" in run_of(ticks, result).tags[REASONS_TAG]
    reasons = reasons_of(result)
    assert set(reasons) == {f"{OLD}/prompts:mill", f"{OLD}/poi_images:mill"}
    assert all("mill → barn" in reason for reason in reasons.values())


@pytest.mark.parametrize(
    ("edit", "asset", "word"),
    [
        ({"positive_suffix": "very wide"}, f"{OLD}/poi_images", "very"),
        ({"base_seed": 8}, f"{OLD}/poi_images", "seed: "),
        ({"loras": [lora("west_land", "west/landscape", trigger="west", scale=0.5)]}, f"{OLD}/stack", "1.0 → 0.5"),
        ({"poi_style": "oil"}, f"{OLD}/poi_images", "oil"),
    ],
)
def test_kinds_of_edit(ticks: Ticks, edit: dict[str, Any], asset: str, word: str) -> None:
    ticks.game.edit("visual_style.yaml", edit)
    requests, _ = ticks.tick("content")
    (request,) = [found for found in requests if asset in assets(found)]
    assert word in request.tags[REASONS_TAG]
    result = launch(ticks, *assets(request), tags=request.tags)
    assert result.success
    assert any(word in reason for name, reason in reasons_of(result).items() if name.startswith(asset))


def test_a_threshold_is_told_of_an_adapters_run(ticks: Ticks) -> None:
    settings = {"promotion": "automatic", "thresholds": {"ssim_trigger_max": 1.0, "ssim_changed_max": 0.99}}
    write_yaml(ticks.game.data.settings_file, settings)
    requests, _ = ticks.tick("adapters")
    assert "0.99" in requests[0].tags[REASONS_TAG]
    reasons = reasons_of(launch(ticks, *assets(requests[0]), tags=requests[0].tags))
    assert "0.99" in reasons["west/loras/west_land/verification"]


def test_a_run_on_the_command_line_says_why_too(ticks: Ticks) -> None:
    burn_the_mill(ticks.game)
    ticks.game.run()
    run = ticks.game.instance.get_runs(limit=5)
    assert any("burnt mill" in found.tags.get(REASONS_TAG, "") for found in run)


def test_a_fresh_picture_made_by_hand_says_why_nothing_was_made(ticks: Ticks, caplog: pytest.LogCaptureFixture) -> None:
    result = launch(ticks, f"{OLD}/poi_images", tags={"dagster/partition": "mill"})
    assert result.success
    (told,) = reasons_of(result).values()
    assert told.startswith(NOTHING_MADE)
    assert "for another picture write `seed: +1` into its entry, or change its prompt" in told
    assert NOTHING_MADE in run_of(ticks, result).tags[REASONS_TAG]
    logged = [entry.user_message for entry in ticks.game.instance.all_logs(result.run_id)]
    assert any(f"mill: {NOTHING_MADE}" in line for line in logged)


@pytest.mark.parametrize(
    "asset",
    [f"{OLD}/stack", f"{OLD}/gallery", *(f"west/loras/west_land/{name}" for name in ("verification", "mlx_adapter"))],
)
def test_so_does_any_other_asset(ticks: Ticks, asset: str) -> None:
    result = launch(ticks, asset)
    assert reasons_of(result) == {asset: NOTHING_MADE}
    assert NOTHING_MADE in run_of(ticks, result).tags[REASONS_TAG]


def test_what_is_told_has_a_length(ticks: Ticks) -> None:
    names = [f"a place with a long name {number}" for number in range(300)]
    same = [Step(f"a/worlds/b/poi_images:{name}", "picture", "stale", {}, None, ("seed: 1 → 2",)) for name in names]
    told = tags_for(same)[REASONS_TAG]
    assert told == f"{', '.join(names[:4])} and 296 more: seed: 1 → 2"
    differ = [Step(step.asset, "picture", "stale", {}, None, (f"x: {n} → {'y' * n}",)) for n, step in enumerate(same)]
    told = tags_for(differ)[REASONS_TAG]
    assert told.endswith("and 292 more")
    assert len(told) < 2100
    assert all(printable(line) == line for line in told.splitlines())
