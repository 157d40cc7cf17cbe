"""Takes of a picture: other seeds, each once, each just what its number in the entry makes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.common.errors import ContentError, RenderError, SelectionError, SqPipelineError
from sq_pipeline.content.prompts import seed_for
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.verify_image.image import verify_image
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import Takes, make_takes
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_yaml
from sq_pipeline_tests.pipeline.game import Game

MILL = "west/old/mill"


def context_of(game: Game) -> Context:
    return Context(game.data, game.engines(game.data), looks_ahead=False)


def takes_of(game: Game, name: str = MILL, first: int = 1, count: int = 3, tier: str | None = None) -> Takes:
    context = context_of(game)
    return make_takes(context, find_picture(context, name, tier), first, count)


def say(game: Game, **keys: Any) -> None:
    game.edit("worlds/old/history.yaml", {"chapters": [chapter({**poi("Mill"), **keys}, poi("Mine"), poi("Inn"))]})


def mill(game: Game) -> Path:
    return game.data.published_image("west", "landscape", "mill")


def test_eight_takes_are_eight_pictures_and_one_model_load_and_then_none(done: Game) -> None:
    before, loads = mill(done).read_bytes(), done.engines.renderer.model_loads
    requests = len(done.engines.renderer.requests)
    found = takes_of(done, count=8)
    assert len(done.engines.renderer.requests) - requests == 8
    assert done.engines.renderer.model_loads - loads <= 1
    assert [take.seed for take in found.takes] == [
        seed_for("west", "old", "Mill", "landscape", 1) + number for number in range(1, 9)
    ]
    assert len({take.path.read_bytes() for take in found.takes}) == 8
    again = takes_of(done, count=8)
    assert len(done.engines.renderer.requests) - requests == 8
    assert not any(take.is_new for take in again.takes)
    assert again.sheet.read_bytes() == found.sheet.read_bytes()
    assert takes_of(done, first=7, count=4).takes[1].is_new is False
    assert len(done.engines.renderer.requests) - requests == 10
    assert mill(done).read_bytes() == before
    assert done.plan()["stale"] == []


def test_its_number_in_the_entry_makes_just_that_take_and_renders_nothing(done: Game) -> None:
    take = takes_of(done).takes[1]
    say(done, seed="+2")
    requests = len(done.engines.renderer.requests)
    assert done.run().failed == []
    assert len(done.engines.renderer.requests) == requests
    assert mill(done).read_bytes() == take.path.read_bytes()
    assert not verify_image(context_of(done), mill(done)).has_lied


def test_take_zero_is_the_picture_that_it_has_without_a_seed_of_its_own(done: Game) -> None:
    (take,) = takes_of(done, first=0, count=1).takes
    assert not take.is_new
    assert take.path.read_bytes() == mill(done).read_bytes()


def test_a_number_means_the_same_whatever_seed_its_entry_has(done: Game) -> None:
    first = takes_of(done).takes
    say(done, seed=7)
    assert [take.record.fingerprint for take in takes_of(done).takes] == [take.record.fingerprint for take in first]


def test_a_draft_has_takes_and_no_picture(done: Game) -> None:
    say(done, draft=True)
    done.run()
    assert all(take.is_new for take in takes_of(done).takes)
    assert not mill(done).exists()


def test_a_take_that_a_person_painted_over_is_kept(done: Game) -> None:
    (take,) = takes_of(done, count=1).takes
    Image.new("RGB", (8, 8), "red").save(take.path)
    painted = take.path.read_bytes()
    for _ in range(2):
        takes_of(done, count=1)
    assert take.path.read_bytes() != painted
    assert [path.read_bytes() for path in (take.path.parent / "archive").iterdir()] == [painted]
    say(done, num_inference_steps=3)
    takes_of(done, count=1)  # another picture of ours in its place: the store has that one
    assert len([*(take.path.parent / "archive").iterdir()]) == 1


def test_takes_are_of_the_size_and_steps_of_their_entry(done: Game) -> None:
    say(done, size_px=[80, 64], num_inference_steps=3)
    (take,) = takes_of(done, count=1).takes
    with Image.open(take.path) as image:
        assert image.size == (80, 64)
    assert done.engines.renderer.requests[-1].num_inference_steps == 3


def test_the_sheet_has_the_picture_of_now_and_each_take(done: Game) -> None:
    with Image.open(takes_of(done, count=3).sheet) as sheet:
        four = sheet.size
    with Image.open(takes_of(done, count=8).sheet) as sheet:
        assert (sheet.width > four[0], sheet.height > four[1]) == (True, True)  # nine in three rows, not four in two


@pytest.mark.parametrize(
    ("name", "tier", "error", "told"),
    [
        ("mill", None, SelectionError, "'mill' names no picture; write it as GENRE/WORLD/SLUG"),
        ("west/old/", None, SelectionError, "names no picture"),
        ("west/old/poi/mill", None, SelectionError, "names no picture"),
        ("east/old/mill", None, SelectionError, "there is no genre 'east'"),
        ("west/new/mill", None, SelectionError, "there is no world 'west/new'"),
        ("west/old/mil", None, SelectionError, "has no picture 'mil'; did you mean mill?"),
        ("west/old/castle", None, SelectionError, "has no picture 'castle'; known are inn, mill, mine"),
        ("west/old/mill", "portrait", SelectionError, "has no picture 'mill'; known are none"),
        ("west/old/mill", "poster", SqPipelineError, "poster"),
    ],
)
def test_a_picture_that_is_not_there(done: Game, name: str, tier: str | None, error: type, told: str) -> None:
    with pytest.raises(error, match=re.escape(told)):
        takes_of(done, name, tier=tier)


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (1, 0), (1, 65), (1, -3), (2**32, 1), (10**12, 1)])
def test_numbers_out_of_range(done: Game, first: int, count: int) -> None:
    with pytest.raises(SelectionError, match="ask for 1 to 64, from 0 to 4294967232"):
        takes_of(done, first=first, count=count)


def test_a_name_in_two_tiers_asks_for_one(done: Game) -> None:
    settings = {"promotion": "automatic", "missing_adapter": "none", "thresholds": {"ssim_trigger_max": 1.0}}
    write_yaml(done.data.settings_file, settings)
    people = {"characters": [{"name": "Mill", "appearance": "A man called Mill."}]}
    write_yaml(done.data.genre_root("west") / "worlds/old/portrait_manifest.yaml", people)
    with pytest.raises(SelectionError, match="name one: landscape, portrait"):
        takes_of(done)
    assert takes_of(done, tier="portrait", count=1).takes[0].path.parent.parts[-2:] == ("portrait", "mill")


def test_without_its_stack_it_says_what_is_missing(game: Game) -> None:
    with pytest.raises(RenderError, match="bring it up to date with `sq-pipeline run`"):
        takes_of(game)


def test_a_prompt_that_cannot_be_written_is_told(done: Game) -> None:
    say(done, visual_prompt="word " * 200)
    with pytest.raises(ContentError, match="shorten it"):
        takes_of(done)


def test_a_take_that_fails_leaves_those_before_it(done: Game) -> None:
    base = seed_for("west", "old", "Mill", "landscape", 1)
    done.engines.renderer.fails_when = lambda request: request.seed == base + 3
    with pytest.raises(RenderError):
        takes_of(done, count=4)
    done.engines.renderer.fails_when = lambda _request: False
    assert [take.is_new for take in takes_of(done, count=4).takes] == [False, False, True, True]


def test_the_command(done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", done.engines)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["takes", MILL, "--data", str(done.data.root), *arguments])
        assert result.exception is None, result.exception
        return result.stdout

    told = json.loads(run("--count", "2", "--json"))
    assert (told["picture"], told["tier"], told["rendered"]) == (MILL, "landscape", 2)
    assert [take["take"] for take in told["takes"]] == [1, 2]
    assert all((done.data.root / take["path"]).is_file() for take in told["takes"])
    assert (done.data.root / told["sheet"]).is_file()
    assert "0 rendered, 2 there before" in " ".join(run("--count", "2").split())
