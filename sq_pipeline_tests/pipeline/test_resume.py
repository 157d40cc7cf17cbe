"""A run that is cut off while it trains, and the next one: continued where nothing changed, otherwise begun anew."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline_tests.pipeline.fast import write_dataset, write_yaml
from sq_pipeline_tests.pipeline.game import Game

LAND = "west/landscape"


def change_recipe(game: Game, **values: object) -> None:
    path: Path = game.data.datasets_root / LAND / "lora.yaml"
    write_yaml(path, {**yaml.safe_load(path.read_text()), **values})


def change_picture(game: Game) -> None:
    write_dataset(game.data.root / "elsewhere", "west", 9)
    shutil.copy(game.data.root / "elsewhere/0.png", game.data.datasets_root / LAND / "0.png")


@pytest.fixture
def cut_off(game: Game) -> Game:
    """A game whose first training was interrupted in its sixth iteration of eight, with a checkpoint after four."""
    change_recipe(game, iterations=8, checkpoint_interval=2)
    game.engines.trainer.interrupt_at = 6
    with pytest.raises(KeyboardInterrupt):
        game.run("west/old")
    game.engines.trainer.interrupt_at = None
    assert len(folders(game)) == 1
    return game


def folders(game: Game) -> list[str]:
    return sorted(path.name for path in game.data.checkpoints_root.glob("*"))


def made(game: Game) -> tuple[dict[str, object], str]:
    """What the record of the trained adapter says, and its data version."""
    context = Context(game.data, game.engines(game.data))
    record = adapter_steps_of(context, context.adapter("west_land"))["mlx_adapter"].record
    assert record is not None
    return record.info, record.data_version


def test_a_plan_says_where_the_training_goes_on(cut_off: Game) -> None:
    context = Context(cut_off.data, cut_off.engines(cut_off.data))
    step = adapter_steps_of(context, context.adapter("west_land"))["mlx_adapter"]
    assert step.reasons == ("never made", "goes on after iteration 4, where it was cut off")
    cut_off.run("west/old")
    context = Context(cut_off.data, cut_off.engines(cut_off.data))
    assert adapter_steps_of(context, context.adapter("west_land"))["mlx_adapter"].reasons == ()


def test_the_next_run_continues_the_training(cut_off: Game) -> None:
    report = cut_off.run("west/old")
    assert report.trained == ["west/loras/west_land/mlx_adapter"]
    info, _ = made(cut_off)
    assert info["resumed_at"] == [4]
    assert info["iterations"] == 8
    assert not cut_off.data.checkpoints_root.exists()
    asked = cut_off.engines.trainer.requests[-1].checkpoints
    assert asked is not None
    assert asked.folder.name == asked.identity.removeprefix("sha256:")


def test_an_undisturbed_training_says_nothing_of_it_and_leaves_no_folder(game: Game) -> None:
    change_recipe(game, checkpoint_interval=1)
    game.run("west/old")
    assert "resumed_at" not in made(game)[0]
    assert not game.data.checkpoints_root.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda game: change_recipe(game, learning_rate=0.5),
        change_picture,
        lambda game: game.engines.weights.update({"tiny-flux": "sha256:" + "1" * 64}),
    ],
    ids=["recipe", "dataset", "weights"],
)
def test_a_changed_training_is_begun_anew(cut_off: Game, change: Callable[[Game], object]) -> None:
    left = folders(cut_off)
    change(cut_off)
    cut_off.run("west/old")
    assert "resumed_at" not in made(cut_off)[0]
    assert folders(cut_off) == left


@pytest.mark.long
def test_an_edit_that_is_undone_finds_its_checkpoint_again(cut_off: Game) -> None:
    change_recipe(cut_off, seed=99)
    cut_off.run("west/old")
    change_recipe(cut_off, seed=1)
    cut_off.run("west/old")
    assert made(cut_off)[0]["resumed_at"] == [4]
    assert folders(cut_off) == []


@pytest.mark.long
def test_another_interval_changes_nothing_that_was_made(cut_off: Game) -> None:
    change_recipe(cut_off, checkpoint_interval=3)
    cut_off.run("west/old")
    assert made(cut_off)[0]["resumed_at"] == [4]
    change_recipe(cut_off, checkpoint_interval=5)
    assert cut_off.run("west/old").trained == []


def test_checkpoints_stay_until_the_adapter_is_stored(cut_off: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Context, "keep", refuse)
    left = folders(cut_off)
    with pytest.raises(KeyboardInterrupt):
        cut_off.run("west/old")
    assert folders(cut_off) == left
    monkeypatch.undo()
    cut_off.run("west/old")
    assert folders(cut_off) == []
