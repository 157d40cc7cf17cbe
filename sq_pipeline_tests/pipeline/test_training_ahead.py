"""Which trainings of a run begin in other processes, and what becomes of them. The processes: `engines`."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import pytest

from sq_pipeline.common.errors import RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.runs import bring_up_to_date
from sq_pipeline.pipeline.adapters.adapter_status import adapter_steps_of
from sq_pipeline.pipeline.adapters.make_adapter_asset import make_adapter_asset
from sq_pipeline.pipeline.adapters.train_ahead import train_ahead
from sq_pipeline.pipeline.context import Context, Engines
from sq_pipeline.training.ports import KeptAdapter, TrainRequest, TrainResult
from sq_pipeline.training.progress import OnProgress
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.pipeline.fast import write_game
from sq_pipeline_tests.pipeline.game import Game

WEST, PAPER = "west/west_land", "west/paper_land"


@dataclass
class Ahead:
    """Notes what it is asked for."""

    begun: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    closed: int = 0

    def begin(self, trainings: Sequence[tuple[str, str]]) -> None:
        self.begun += trainings

    def close(self) -> None:
        self.closed += 1


def _no_renderer() -> NoReturn:
    raise AssertionError("nothing is left to render")


def run(game: Game, ahead: Ahead, world: str | None = None) -> None:
    def engines(data: DataDir) -> Engines:
        return replace(game.engines(data), training_ahead=lambda: ahead)

    bring_up_to_date(game.data, game.instance, world, game.said.append, engines)


def test_while_one_adapter_is_trained_the_other_one_may_begin(game: Game) -> None:
    ahead = Ahead()
    run(game, ahead)
    context = Context(game.data, game.engines(game.data))
    west = adapter_steps_of(context, context.adapter(WEST))["mlx_adapter"]
    assert ahead.begun == [(WEST, west.fingerprint)]  # while that is trained, nothing is left
    assert ahead.closed == 1
    run(game, ahead)
    assert len(ahead.begun) == 1


def test_an_adapter_is_remapped_and_verified_before_the_next_is_trained(game: Game) -> None:
    run(game, Ahead())
    records = [
        event.asset_key.path[-1]
        for event in game.instance.all_logs(game.instance.get_run_records()[-1].dagster_run.run_id)
        if event.dagster_event and event.dagster_event.is_step_materialization
        for event in [event.dagster_event]
        if event.asset_key is not None
    ]
    line = ["mlx_adapter", "chosen_checkpoint", "mflux_adapter", "verification", "promoted_adapter"]
    assert records == ["training_dataset"] * 2 + line * 2


def test_what_the_run_is_not_for_does_not_begin(game: Game) -> None:
    ahead = Ahead()
    run(game, ahead, "west/old")
    assert ahead.begun == []


def test_it_ends_when_the_run_is_interrupted(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Ahead()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(game.engines.trainer, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(game, ahead)
    assert (len(ahead.begun), ahead.closed) == (1, 1)


@pytest.fixture
def keeping(game: Game, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Game:
    """A game whose trainer keeps a checkpoint after the first iteration too: another adapter."""
    train = game.engines.trainer.train

    def train_two(request: TrainRequest, on_progress: OnProgress) -> TrainResult:
        early = replace(request, output_path=tmp_path / "early.safetensors", checkpoints=None)
        train(replace(early, recipe=request.recipe.model_copy(update={"seed": 99})), lambda _: None)
        kept = KeptAdapter(1, early.output_path), KeptAdapter(request.recipe.iterations, request.output_path)
        return replace(train(request, on_progress), kept=kept)

    monkeypatch.setattr(game.engines.trainer, "train", train_two)
    return game


@pytest.mark.parametrize("scores", [False, True])
def test_what_was_scored_ahead_is_not_scored_again(keeping: Game, scores: bool) -> None:
    context = Context(keeping.data, keeping.engines(keeping.data))
    adapter, asked = context.adapter(WEST), keeping.engines.renderer.requests
    make_adapter_asset(context, adapter, "training_dataset")
    step = adapter_steps_of(context, adapter)["mlx_adapter"]
    assert train_ahead(context, adapter, step.fingerprint, scores=scores)
    assert bool(asked) is scores
    assert adapter_steps_of(context, adapter)["mlx_adapter"].record is None  # the run makes the adapter
    before = len(asked)
    make_adapter_asset(context, adapter, "mlx_adapter")
    record, _ = make_adapter_asset(context, adapter, "chosen_checkpoint")
    assert record.info["is_scored"]
    assert (len(asked) == before) is scores


def test_a_scoring_that_fails_is_left_to_the_run(keeping: Game) -> None:
    context = Context(keeping.data, keeping.engines(keeping.data))
    adapter = context.adapter(WEST)
    make_adapter_asset(context, adapter, "training_dataset")
    keeping.engines.renderer.fails_when = lambda request: True
    assert train_ahead(context, adapter, adapter_steps_of(context, adapter)["mlx_adapter"].fingerprint, scores=True)
    make_adapter_asset(context, adapter, "mlx_adapter")
    with pytest.raises(RenderError, match="the fake was told to fail"):
        make_adapter_asset(context, adapter, "chosen_checkpoint")


@pytest.mark.long
def test_the_process_trains_what_the_run_then_takes_up(data: DataDir) -> None:
    """With the real trainer: nothing is left to train, and the adapter is the one of a run alone."""
    write_game(data)
    context = Context(data, real_engines(data))
    adapter = context.adapter(PAPER)
    make_adapter_asset(context, adapter, "training_dataset")
    wanted = adapter_steps_of(context, adapter)["mlx_adapter"].fingerprint
    process = [sys.executable, "-m", "sq_pipeline.defs.train_ahead", str(data.root), PAPER]
    subprocess.run([*process, "sha256:another"], check=True)  # the files changed meanwhile: nothing is trained
    assert not data.checkpoint_folder(wanted).exists()
    subprocess.run([*process, wanted, "scores"], check=True)
    end = data.checkpoint_folder(wanted) / "0000003.safetensors"
    assert end.is_file()
    assert not context.store.read_record("mlx_adapter", wanted)
    made, is_made = make_adapter_asset(context, adapter, "mlx_adapter")
    assert is_made
    assert "resumed_at" not in made.info
    assert not end.exists()
    blind = Context(data, replace(real_engines(data), renderer=_no_renderer))
    assert make_adapter_asset(blind, adapter, "chosen_checkpoint")[0].info["is_scored"]
    path = context.store.lend(made.objects["adapter"])
    ahead = path.read_bytes()
    path.unlink()
    alone, _ = make_adapter_asset(Context(data, real_engines(data)), adapter, "mlx_adapter")
    assert context.store.lend(alone.objects["adapter"]).read_bytes() == ahead
