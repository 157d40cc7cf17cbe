"""What a person asks of the gate is an input: exactly what is held to it is verified again, and a slip is told."""

import copy
from typing import Any

import pytest

from sq_pipeline.pipeline.adapters.gate_settings import limits_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.verification.gate_limits import LimitName
from sq_pipeline_tests.builders import write_adapter
from sq_pipeline_tests.pipeline.fast import lora, write_dataset, write_yaml
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


def test_a_limit_of_a_recipe_is_for_that_adapter_and_trains_nothing(game: Game) -> None:
    game.run()
    _edit_recipe(game, "gate: {style_share: {value: 0.1, reason: it is faint}}")
    report = game.run()
    assert set(report.verified) == {WEST}
    assert report.trained == []
    assert _verified(game, WEST)[0]["limits"]["style_share"] == {"limit": 0.1, "reason": "it is faint"}
    assert game.plan()["stale"] == []


def test_what_is_said_of_one_adapter_counts_before_its_recipe_and_that_before_its_tier(game: Game) -> None:
    def limit(value: float) -> dict[str, Any]:
        return {"value": value, "reason": f"{value}"}

    _edit_recipe(game, "gate: {style_share: {value: 0.2, reason: '0.2'}, over_noise: {value: 0.2, reason: '0.2'}}")
    _set(
        game,
        gate={name: limit(0.4) for name in ("style_share", "over_noise", "subject_kept", "loss_saved")},
        gate_for={
            "landscape": {name: limit(0.3) for name in ("style_share", "over_noise", "subject_kept")},
            "west/west_land": {"style_share": limit(0.1)},
        },
    )
    context = Context(game.data, game.engines(game.data))
    limits = limits_of(context, context.adapter("west_land"))
    names: tuple[LimitName, ...] = ("style_share", "over_noise", "subject_kept", "loss_saved")
    assert [limits.of(name).limit for name in names] == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("gate: {style_share: 0.1}", "gate.style_share"),
        ("gate: {style_share: {value: 0.1}}", "gate.style_share.reason"),
        ("gate: {style: {value: 0.1, reason: x}}", "gate.style"),
    ],
)
def test_a_slip_in_a_recipe_s_limit_is_told(line: str, told: str, game: Game) -> None:
    _edit_recipe(game, line)
    assert any(told in reason for step in game.plan()["blocked"] for reason in step["reasons"])


def test_limits_for_a_name_that_is_nobody_s_are_told(game: Game) -> None:
    _set(game, gate_for={name: copy.deepcopy(FAINT) for name in ("portrait", "west/west_land", "portrai")})
    told = [warning for warning in game.plan()["warnings"] if "gate_for" in warning]
    assert told == [
        "sq.yaml: thresholds.gate_for.portrai: is the name of no tier and of no adapter, so nobody is held to it; "
        "known are landscape, portrait, creature, scene, west/west_land, west/paper_land"
    ]


def test_a_scale_beyond_those_that_were_found_sound_is_told_by_the_plan(game: Game) -> None:
    game.run()
    assert not [warning for warning in game.plan()["warnings"] if "found sound" in warning]
    game.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", scale=1.75)]})
    told = [warning for warning in game.plan()["warnings"] if "found sound" in warning]
    assert told[0] == (
        "west/old: west_land.scale: is 1.75, and west_land was found sound from 0.5 to 1.5; take one in between, or "
        "look at the pictures"
    )


INK = "west/loras/ink/verification"


def _add_external(game: Game, **more: Any) -> None:
    """The world `paper` takes an adapter from elsewhere beside its own."""
    place = game.data.lora_root / "elsewhere/ink.safetensors"
    if not place.exists():
        place.parent.mkdir(parents=True)
        write_adapter(place)
    add = [lora("paper_land", "west/paper/landscape", trigger="west_paper"), lora("ink", "elsewhere/ink", **more)]
    game.edit("worlds/paper/visual_style.yaml", {"loras": {"exclude": ["west_land"], "add": add}})


def _verified(game: Game, asset: str) -> tuple[dict[str, Any], str]:
    """What is on record of a verification, and its report."""
    store = Context(game.data, game.engines(game.data)).store
    current = store.read_current(asset)
    assert current is not None
    record = store.read_record("verification", current[0])
    assert record is not None
    return dict(record.info), store.read_text(record.objects["report"])


def _style_of(game: Game) -> str:
    (verdict,) = [v for v in _verified(game, INK)[0]["verdicts"] if v["check"] == "style shown"]
    return verdict["detail"]


def test_an_adapter_from_elsewhere_is_held_against_the_folder_that_its_entry_names(game: Game) -> None:
    game.run()
    _add_external(game)
    assert set(game.run().verified) == {INK}
    assert _style_of(game) == (
        "without a dataset or a folder of reference pictures, whether this is its style was not checked"
    )
    write_dataset(game.data.datasets_root / "refs/ink", "west", 9, count=5)
    (game.data.datasets_root / "refs/ink/lora.yaml").unlink()  # what was trained nobody knows
    _add_external(game, reference="refs/ink")
    report = game.run()
    assert set(report.verified) == {INK}
    assert "content/lora-datasets/refs/ink" in _style_of(game)
    assert game.plan()["stale"] == []
    (game.data.datasets_root / "refs/ink/4.png").unlink()
    (game.data.datasets_root / "refs/ink/4.txt").unlink()
    assert set(game.run().verified) == {INK}
    assert game.plan()["stale"] == []


def test_a_reference_that_is_not_there_or_not_needed_is_told(game: Game) -> None:
    game.run()
    _add_external(game, reference="refs/none")
    assert game.plan("west/paper")["faults"] == [
        "content/lora-datasets/refs/none: is not there, and ink names it as its `reference`; put pictures in its style "
        "there, or leave `reference` out"
    ]
    _add_external(game)
    game.edit("visual_style.yaml", {"loras": [lora("west_land", "west/landscape", trigger="west", reference="refs/x")]})
    assert game.plan()["warnings"] == [
        "west/west_land: reference: is not looked at: west_land is held against its own dataset; leave it out"
    ]


@pytest.mark.parametrize("folder", ["/refs", "../refs", "a/../../refs", "a\\b", "C:refs", "."])
def test_a_reference_stays_below_the_datasets(folder: str, game: Game) -> None:
    _add_external(game, reference=folder)
    (fault,) = game.plan("west/paper")["faults"]
    assert "is no folder below content/lora-datasets; write its path there, such as west/style" in fault


def test_the_plan_says_how_many_pictures_verifications_render(game: Game) -> None:
    """Four prompts with the trigger and with the control word, two of them at two other scales."""
    plan = game.plan()
    assert plan["choice_pictures"] == 2 * 3 * 4  # three checkpoints; those of the chosen one are not rendered again
    assert plan["verification_pictures"] == 2 * (4 + 4)
    for recipe in game.data.datasets_root.rglob("lora.yaml"):
        recipe.write_text(recipe.read_text() + "kept_checkpoints: 1\n")
    plan = game.plan()
    assert (plan["choice_pictures"], plan["verification_pictures"]) == (0, 2 * (4 + 4 + 4))
    game.run()
    assert game.plan()["verification_pictures"] == 0
    _add_external(game)
    assert game.plan()["verification_pictures"] == 4 + 4 + 2  # without a trigger, and two of noise


def test_a_new_version_is_shown_beside_the_one_in_use(game: Game) -> None:
    game.run()
    first, report = _verified(game, WEST)
    assert "In use" not in report
    write_dataset(game.data.datasets_root / "west/landscape", "west", 6, count=4)
    assert set(game.run().verified) == {WEST}
    second, report = _verified(game, WEST)
    assert second["adapter_version"] != first["adapter_version"]
    assert (
        f"In use: the figures of the version that pictures are made with now, `{first['adapter_version']}`." in report
    )
