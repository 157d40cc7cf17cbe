"""What the gallery tells: the states that `plan` finds, in words, counts and time left; and when it looks again."""

import os
import shutil
from typing import Any

import pytest

from sq_pipeline.common.fingerprints import hash_file
from sq_pipeline.content.records import World
from sq_pipeline.gallery import survey as survey_module
from sq_pipeline.gallery.groups import Group, Tile
from sq_pipeline.gallery.states import STATES
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.rendering_now import rendering_now, told_as_rendering
from sq_pipeline_tests.gallery.conftest import HTML, ShowGame, Shown, Small
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml


def _states(shown: Shown, world: str, tier: str = "landscape") -> dict[str, str]:
    return {tile["name"]: tile["state"] for tile in shown.tiles(world, tier).values()}


def test_every_expected_picture_is_there_and_fresh_after_a_run(shown: Shown) -> None:
    assert _states(shown, "old") == dict.fromkeys(["Mill", "Mine", "Inn"], "fresh")
    assert _states(shown, "paper") == dict.fromkeys(["Gate", "Dock"], "fresh")
    place = shown.game.data.published_image("west", "landscape", "mill")
    picture = shown.tiles("old")["mill"]["picture"]
    assert f"sha256:{picture['sha']}" == hash_file(place)
    content, kind = shown.survey.files.read(picture["sha"]) or (b"", "")
    assert (content, kind) == (place.read_bytes(), "image/png")
    assert shown.group("old")["counts"] == {"fresh": 3}
    assert shown.group("old")["seconds_left"] == 0


def test_each_state_is_told_with_its_reason(in_states: Shown) -> None:
    assert _states(in_states, "old") == {
        "Mill": "stale", "Mine": "waiting", "Inn": "fresh", "Ford": "draft", HTML: "new", "Barn": "failed",
    }  # fmt: skip
    tiles = in_states.tiles("old")
    assert "burnt mill" in tiles["mill"]["why"]
    assert "is not a picture of ours" in tiles["mine"]["why"]
    assert "tokens" in tiles["barn"]["why"]
    assert in_states.group("old")["counts"].keys() <= STATES.keys()
    assert _states(in_states, "paper") == dict.fromkeys(["Gate", "Dock"], "fresh")


def test_it_says_what_the_plan_says(in_states: Shown) -> None:
    plan = in_states.game.plan()
    stale = {line["asset"] for line in plan["stale"] if "poi_images:" in line["asset"]}
    blocked = {line["asset"]: line["status"] for line in plan["blocked"] if "poi_images:" in line["asset"]}
    told: dict[str, set[str]] = {}
    for world in ("old", "paper"):
        for slug, tile in in_states.tiles(world).items():
            told.setdefault(tile["state"], set()).add(f"west/worlds/{world}/poi_images:{slug}")
    assert told["stale"] | told["new"] | told.get("pending", set()) == stale
    assert told["failed"] == {asset for asset, status in blocked.items() if status == "blocked"}
    assert told["waiting"] == {asset for asset, status in blocked.items() if status == "waiting"}


def test_what_comes_after_something_else_will_be(game: Small, show: ShowGame) -> None:
    shown = show(game)
    shown.look()
    assert set(_states(shown, "old").values()) == {"pending"}
    assert shown.group("old")["seconds_left"] is None  # nothing was rendered yet
    assert shown.group("old")["to_render"] == 3
    details = shown.details("old", "mill")
    assert details["chain"][0] == "west/worlds/old/stack"
    assert details["picture"] is None


def test_time_left_is_what_its_own_pictures_took_for_each_that_is_to_be_rendered() -> None:
    took = [2.0, 4.0, 90.0, None]
    fresh = [Tile(f"{at}", f"p{at}", "P", "fresh", "a", elapsed_s=s) for at, s in enumerate(took)]
    to_do = [Tile(f"n{at}", f"n{at}", "N", "new", "a", has_to_render=True) for at in range(5)]
    group = Group("id", "west", "old", "landscape", 9, tiles=(*fresh, *to_do))
    assert group.as_json()["seconds_left"] == 5 * 4.0  # the median
    assert Group("id", "west", "old", "landscape", 5, tiles=tuple(to_do)).as_json()["seconds_left"] is None
    assert Group("id", "west", "old", "landscape", 4, tiles=tuple(fresh)).as_json()["seconds_left"] == 0


def test_what_is_to_be_rendered_is_counted(in_states: Shown) -> None:
    group = in_states.group("old")
    assert (group["to_render"], group["seconds_left"]) == (2, 0.0)  # the fake takes no time


def test_an_undone_edit_is_fresh_again_and_a_world_that_is_settled_keeps_its_tiles(in_states: Shown) -> None:
    before = in_states.group("paper")["revision"]
    old = in_states.group("old")["revision"]
    in_states.game.data.published_image("west", "landscape", "mine").unlink()
    in_states.game.edit(
        "worlds/old/history.yaml", {"chapters": [chapter(poi("Mill"), poi("Mine")), chapter(poi("Inn"))]}
    )
    in_states.look()
    assert _states(in_states, "old") == {"Mill": "fresh", "Mine": "stale", "Inn": "fresh"}
    assert in_states.group("old")["revision"] != old
    assert in_states.group("paper")["revision"] == before


def test_what_is_rendered_now_is_told_while_its_process_lives(shown: Shown) -> None:
    data, asset = shown.game.data, "west/worlds/old/poi_images:mill"
    revision = shown.survey.overview()["revision"]
    with told_as_rendering(data, asset):
        shown.look()
        assert _states(shown, "old") == {"Mill": "rendering", "Mine": "fresh", "Inn": "fresh"}
        assert shown.survey.overview()["rendering"] == asset
        assert shown.survey.overview()["revision"] != revision
        data.rendering_note.write_text(f"{2**22 + 1} {asset}\n")  # beyond the numbers that processes have
        assert rendering_now(data) is None
    assert not data.rendering_note.exists()
    shown.look()
    assert shown.survey.overview()["revision"] == revision


def test_a_run_says_what_it_renders(in_states: Shown) -> None:
    data, told = in_states.game.data, list[str | None]()
    renderer = in_states.game.engines.renderer
    renderer.fails_when = lambda _: bool(told.append(rendering_now(data)))
    in_states.game.render("west/old")
    assert "west/worlds/old/poi_images:mill" in told
    assert rendering_now(data) is None


def test_a_deleted_store_is_said_and_what_the_game_has_is_shown(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {slug: tile["picture"]["sha"] for slug, tile in shown.tiles("old").items()}
    shutil.rmtree(shown.game.data.store_root)
    shown.look()
    assert any("The store is gone" in notice for notice in shown.survey.overview()["notices"])
    assert {slug: tile["picture"]["sha"] for slug, tile in shown.tiles("old").items()} == before
    assert set(_states(shown, "old").values()) <= {"pending", "stale", "new"}
    assert all(shown.survey.files.read(sha) for sha in before.values())
    assert shown.details("old", "mill")["versions"][0]["labels"] == ["in the game"]
    assert "Traceback" not in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_a_notice_and_what_was_there_stays(shown: Shown) -> None:
    shown.game.data.settings_file.write_text("promotion: never\n")
    shown.survey.look()
    assert any("promotion" in notice for notice in shown.survey.overview()["notices"])
    assert _states(shown, "old") == dict.fromkeys(["Mill", "Mine", "Inn"], "fresh")


def test_a_fault_of_a_world_is_told_at_the_world(shown: Shown) -> None:
    write_yaml(shown.game.data.genre_root("west") / "worlds/paper/visual_style.yaml", {"loras": []})
    shown.look()
    assert any("loras" in fault for fault in shown.group("paper")["faults"])
    assert shown.group("old")["faults"] == []


@pytest.mark.parametrize("touch", ["content", "store", "takes", "game", "objects"])
def test_what_matters_is_looked_at_again(done: Small, show: ShowGame, touch: str) -> None:
    survey: Survey = show(done).survey
    stamp = survey._stamp_now()  # pyright: ignore[reportPrivateUsage]
    assert survey._stamp_now() == stamp  # pyright: ignore[reportPrivateUsage]
    if touch == "content":
        (done.data.genre_root("west") / "worlds/old/history.yaml").write_text("points_of_interest: []\n")
    elif touch == "store":
        os.utime(done.data.store_root / "records.sqlite", (1, 1))
    elif touch == "takes":
        folder = done.data.takes_root / "west/old/landscape/mill"
        folder.mkdir(parents=True)
        (folder / "take-1.png").write_bytes(b"x")
    elif touch == "game":
        done.data.published_image("west", "landscape", "mill").write_bytes(b"painted over")
    else:
        shutil.rmtree(done.data.store_root / "objects")
    assert survey._stamp_now() != stamp  # pyright: ignore[reportPrivateUsage]


def test_a_picture_that_came_is_looked_at_first_and_no_content_is_read_anew(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With worlds by the dozen a person waits for the one that is being rendered, not for all before it."""
    survey, looked, read = shown.survey, list[str](), list[str]()
    look, make = survey_module.look_at_group, survey.make_context
    survey.look()  # knows by now which files are pictures

    def look_at(context: Context, world: World, *more: Any, **named: Any) -> Group:
        looked.append(world.name)
        return look(context, world, *more, **named)

    def read_anew() -> Context:
        read.append("content")
        return make()

    monkeypatch.setattr(survey_module, "look_at_group", look_at)
    monkeypatch.setattr(survey, "make_context", read_anew)
    for world, slug in (("paper", "gate"), ("old", "mill")):
        looked.clear()
        place = shown.game.data.published_image("west", "landscape", slug)
        place.write_bytes(place.read_bytes() + b" ")
        survey.look()
        assert (looked[0], set(looked), read) == (world, {"old", "paper"}, [])
    write_yaml(shown.game.data.genre_root("west") / "worlds/paper/history.yaml", chapter(poi("Gate", "a red gate")))
    looked.clear()
    survey.look()
    assert (looked[0], read) == ("paper", ["content"])
    assert _states(shown, "paper") == {"Gate": "stale"}
