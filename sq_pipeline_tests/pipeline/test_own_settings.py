"""What an entry says of its own picture makes exactly that picture again; a draft has none, and comes back."""

import json
from typing import Any

import pytest

from sq_pipeline.common.errors import PictureError
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.pictures.png_file import read_png
from sq_pipeline.pictures.provenance import PROVENANCE
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.pipeline.game import Game
from sq_pipeline_tests.pipeline.test_verify_image import detail, forge, outcomes, picture, verify

MILL = "west/worlds/old/poi_images:mill"


def say(game: Game, **keys: Any) -> None:
    places = [{**poi("Mill"), **keys}, poi("Mine"), poi("Inn")]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


def said(game: Game) -> dict[str, Any]:
    return json.loads(read_png(picture(game), "sq.").texts[PROVENANCE])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"seed": 7}, {"seed": 7}),
        ({"seed": "+1"}, {"seed": seed_for("west", "old", "Mill", "landscape", 2)}),
        ({"size_px": [80, 64]}, {"width_px": 80, "height_px": 64}),
        ({"num_inference_steps": 3}, {"num_inference_steps": 3}),
    ],
)
def test_exactly_that_picture_is_made_again(done: Game, keys: dict[str, Any], told: dict[str, Any]) -> None:
    before = picture(done).read_bytes()
    say(done, **keys)
    report = done.run()
    assert [item["poi"] for item in report.rendered] == ["mill"]
    assert {name: said(done)[name] for name in told} == told
    assert not verify(done).has_lied
    assert done.plan()["stale"] == []
    say(done)
    assert done.run().rendered == []  # the store has it
    assert picture(done).read_bytes() == before


@pytest.mark.parametrize("keys", [{"note": "ask Bo"}, {"negative_prompt": "fog"}, {"seed": "+0"}, {"draft": False}])
def test_what_changes_no_picture_makes_none(done: Game, keys: dict[str, Any]) -> None:
    say(done, **keys)
    assert done.plan()["stale"] == []


def test_a_negative_prompt_that_nobody_reads_is_told_once_a_file_also_of_a_settled_world(done: Game) -> None:
    say(done, negative_prompt="fog")
    where = "content/genre_packs/west/worlds/old/history.yaml: chapters[0].points_of_interest[0].negative_prompt: "
    way = "; leave it out, or say what is wanted in the prompt"
    for _ in range(2):
        assert done.plan()["warnings"] == [f"{where}is not read by tiny-flux{way}"]
    assert done.plan("west/paper")["warnings"] == []
    places = [{**poi(name), "negative_prompt": "fog"} for name in ("Mill", "Mine", "Inn")]
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
    assert done.plan()["warnings"] == [f"{where}is not read by tiny-flux, nor those of 2 more entries{way}"]
    say(done, negative_prompt="")
    assert done.plan()["warnings"] == []


def test_a_seed_of_its_own_is_in_the_picture_and_one_that_is_not_says_nothing(done: Game) -> None:
    assert "own_seed" not in said(done)  # as in every picture of before
    say(done, seed="+2")
    done.run()
    assert said(done)["own_seed"] == "+2"
    assert "with `seed: +2` of its entry" in detail(verify(done), "seed")


def test_a_seed_that_its_entry_does_not_explain_is_a_lie(done: Game) -> None:
    say(done, seed="+2")
    done.run()
    forged = forge(done, picture(done).with_name("forged.png"), lambda found: found.update(own_seed="+3"))
    assert "seed" in outcomes(verify(done, forged), "differs")


@pytest.mark.parametrize("seed", ["9" * 5000, "+" + "9" * 5000, "-1", "seven", "+1\n"])
def test_a_forged_seed_that_is_none_is_told_in_a_line(done: Game, seed: str) -> None:
    say(done, seed="+2")
    done.run()
    forged = forge(done, picture(done).with_name("forged.png"), lambda found: found.update(own_seed=seed))
    with pytest.raises(PictureError, match="own_seed"):
        verify(done, forged)


def test_a_draft_has_no_picture_and_is_told(done: Game) -> None:
    before = picture(done).read_bytes()
    say(done, draft=True)
    plan = done.plan()
    assert plan["drafts"] == [MILL]
    assert MILL not in {step["asset"] for step in (*plan["stale"], *plan["blocked"])}
    assert done.run().rendered == []
    assert not picture(done).exists()
    assert [path.read_bytes() for path in (picture(done).parents[1] / "archive").glob("*.png")] == [before]
    assert any("archive" in line and "draft" in line for line in done.said)
    say(done)
    assert done.plan()["drafts"] == []
    assert done.run().rendered == []  # the store has it
    assert picture(done).read_bytes() == before


def test_a_draft_that_never_had_a_picture_is_rendered_by_nobody(done: Game) -> None:
    places = [poi("Mill"), poi("Mine"), poi("Inn"), {**poi("Ford"), "draft": True}]
    done.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
    requests = len(done.engines.renderer.requests)
    assert done.run().rendered == []
    assert len(done.engines.renderer.requests) == requests
    assert done.plan("west/old")["drafts"] == ["west/worlds/old/poi_images:ford"]
    assert done.plan("west/paper")["drafts"] == []


def test_other_tiers_say_it_alike(done: Game) -> None:
    people = [{"name": "Ada", "appearance": "A braid.", "seed": 5, "size_px": [64, 80]}]
    write_yaml(done.data.settings_file, {"promotion": "automatic", "missing_adapter": "none",
                                         "thresholds": {"ssim_trigger_max": 1.0}})  # fmt: skip
    write_yaml(done.data.genre_root("west") / "worlds/old/portrait_manifest.yaml", {"characters": people})
    (rendered,) = done.run().rendered
    assert rendered["tier"] == "portrait"
    request = done.engines.renderer.requests[-1]
    assert (request.seed, request.width_px, request.height_px) == (5, 64, 80)
