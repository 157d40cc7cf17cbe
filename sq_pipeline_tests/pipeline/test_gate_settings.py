"""What a person asks of the gate is an input: exactly what is held to it is verified again, and a slip is told."""

import copy
from typing import Any

import pytest

from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game

FAINT = {"style_share": {"value": 0.1, "reason": "it is faint"}}
WEST, PAPER = (f"west/loras/{name}/verification" for name in ("west_land", "paper_land"))


def _set(game: Game, **thresholds: Any) -> None:
    write_yaml(game.data.settings_file, {"promotion": "automatic", "thresholds": thresholds})


def _edit_recipe(game: Game, line: str) -> None:
    with (game.data.datasets_root / "west/landscape/lora.yaml").open("a") as file:
        file.write(f"{line}\n")


@pytest.mark.parametrize(
    ("thresholds", "verified"),
    [
        ({"gate": FAINT}, {WEST, PAPER}),
        ({"gate_for": {"landscape": FAINT}}, {WEST, PAPER}),
        ({"gate_for": {"portrait": FAINT}}, set()),
        ({"gate_for": {"west/paper_land": FAINT}}, {PAPER}),
        ({"gate": {}, "gate_for": {}}, set()),
    ],
)
def test_a_limit_verifies_again_what_it_is_for(thresholds: dict[str, Any], verified: set[str], game: Game) -> None:
    _set(game, ssim_trigger_max=1.0)
    game.run()
    _set(game, ssim_trigger_max=1.0, **thresholds)
    assert set(game.run().verified) == verified
    assert game.plan()["stale"] == []


def test_a_trigger_that_is_required_verifies_that_adapter_again_and_trains_nothing(game: Game) -> None:
    game.run()
    _edit_recipe(game, "trigger_required: true")
    report = game.run()
    assert set(report.verified) == {WEST}
    assert report.trained == []
    assert game.plan()["stale"] == []


def test_limits_for_a_name_that_is_nobody_s_are_told(game: Game) -> None:
    _set(game, gate_for={name: copy.deepcopy(FAINT) for name in ("portrait", "west/west_land", "portrai")})
    told = [warning for warning in game.plan()["warnings"] if "gate_for" in warning]
    assert told == [
        "sq.yaml: thresholds.gate_for.portrai: is the name of no tier and of no adapter, so nobody is held to it; "
        "known are landscape, portrait, creature, scene, west/west_land, west/paper_land"
    ]
