"""The small game: `game` with nothing made yet, `done` with everything."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance
from sq_pipeline_tests.conftest import link_shipped
from sq_pipeline_tests.pipeline.fast import write_game
from sq_pipeline_tests.pipeline.game import Game


@pytest.fixture(scope="session")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of an instance in which nothing has happened: Dagster takes half a second to make its tables."""
    data = DataDir(tmp_path_factory.mktemp("empty instance"))
    with open_instance(data):
        return data.dagster_home


@pytest.fixture
def game(data: DataDir, empty_instance: Path) -> Iterator[Game]:
    write_game(data)
    shutil.copytree(empty_instance, data.dagster_home)
    with open_instance(data) as instance:
        yield Game(data, instance)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> DataDir:
    """A game that is up to date; each test works on a copy, which is as good by what DESIGN promises."""
    data = link_shipped(tmp_path_factory.mktemp("finished") / "data", shipped)
    write_game(data)
    with open_instance(data) as instance:
        report = Game(data, instance).run()
    assert not report.failed
    assert not report.blocked
    return data


@pytest.fixture
def done(finished: DataDir, tmp_path: Path) -> Iterator[Game]:
    data = DataDir(tmp_path / "copy")
    shutil.copytree(finished.root, data.root, symlinks=True)
    with open_instance(data) as instance:
        yield Game(data, instance)
