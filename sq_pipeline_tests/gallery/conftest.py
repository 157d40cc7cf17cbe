"""A game in which pictures are in every state, and a survey of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.make_world_asset import make_world_asset
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import make_takes
from sq_pipeline_tests.benchmarks.large_game import bring_up
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.pipeline.fast import chapter, poi, write_game
from sq_pipeline_tests.pipeline.game import Game

HTML = "<img src=x onerror=alert(1)> & “Inn”"


class Small(Game):
    """The small game, brought up to date by the functions that the assets call: nothing here looks into Dagster."""

    def __init__(self, data: DataDir) -> None:
        super().__init__(data, cast(Any, None))

    def bring_up(self) -> None:
        bring_up(self.data, self.engines(self.data))

    def render(self, world: str) -> None:
        """What a run does with a world's prompts and pictures."""
        context = Context(self.data, self.engines(self.data), looks_ahead=False)
        found = context.catalog.worlds[world]
        for part in ("stack", "prompts", "images"):
            list(make_world_asset(context, found, "landscape", part, {poi.slug for poi in found.pois}))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> DataDir:
    """A game that is up to date; each test works on a copy."""
    game = Small(link_shipped(tmp_path_factory.mktemp("finished") / "data", shipped))
    write_game(game.data)
    game.bring_up()
    return game.data


@pytest.fixture
def done(finished: DataDir, tmp_path: Path) -> Small:
    data = DataDir(tmp_path / "copy")
    shutil.copytree(finished.root, data.root, symlinks=True)
    return Small(data)


@pytest.fixture
def game(data: DataDir) -> Small:
    """One of which nothing was made yet."""
    write_game(data)
    return Small(data)


@dataclass
class Shown:
    """A game and a survey of it."""

    game: Small
    survey: Survey

    def look(self) -> None:
        self.survey.look_at_all()

    def group(self, world: str, tier: str = "landscape") -> dict[str, Any]:
        groups = self.survey.overview()["groups"]
        (found,) = [group for group in groups if (group["world"], group["tier"]) == (world, tier)]
        return found

    def tiles(self, world: str, tier: str = "landscape") -> dict[str, dict[str, Any]]:
        told = self.survey.tiles(self.group(world, tier)["id"])
        assert told is not None
        return {tile["slug"]: tile for tile in told["tiles"]}

    def details(self, world: str, slug: str, tier: str = "landscape") -> dict[str, Any]:
        told = self.survey.details(self.tiles(world, tier)[slug]["id"])
        assert told is not None
        return told


ShowGame = Callable[[Small], Shown]


@pytest.fixture
def show() -> ShowGame:
    def show_game(game: Small) -> Shown:
        return Shown(game, Survey(game.data, lambda: Context(game.data, game.engines(game.data))))

    return show_game


@pytest.fixture
def shown(done: Small, show: ShowGame) -> Shown:
    """All fresh, looked at."""
    shown = show(done)
    shown.look()
    return shown


def make_states(game: Small) -> None:
    """World `old`: a stale picture, a new one, one that waits, one that fails, a draft, takes. `paper` stays fresh."""
    context = Context(game.data, game.engines(game.data), looks_ahead=False)
    make_takes(context, find_picture(context, "west/old/mill"), 1, 3)
    game.data.published_image("west", "landscape", "mine").write_bytes(b"a person's own")
    long = poi("Barn", " ".join(["long"] * 120))
    places = [poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"), {**poi("Ford"), "draft": True}, poi(HTML), long]
    game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})


@pytest.fixture
def in_states(done: Small, show: ShowGame) -> Shown:
    make_states(done)
    shown = show(done)
    shown.look()
    return shown
