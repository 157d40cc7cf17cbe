"""What a run says in the end, of a real game: it never says that there was nothing to do when there was."""

import os
import shutil

import pytest
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.cli.terminal.summary import summarise
from sq_pipeline.defs import runs
from sq_pipeline_tests.pipeline.fast import FastEngines
from sq_pipeline_tests.pipeline.game import Game

WIDTH = 80


def test_a_picture_that_was_only_put_back_is_counted(done: Game) -> None:
    game = done
    game.data.published_image("west", "landscape", "mill").unlink()
    report = game.run()
    assert report.rendered == []
    told = summarise(report, game.data, width=WIDTH)
    assert any(line.startswith("1 put in place; ") for line in told), told
    again = summarise(game.run(), game.data, width=WIDTH)
    assert len(again) == 1
    assert again[0].startswith("nothing to do; ")


def test_what_fails_is_counted_by_world_and_told_with_its_reason(game: Game) -> None:
    (game.data.datasets_root / "west/landscape/1.txt").unlink()
    report = game.run()
    told = summarise(report, game.data, width=WIDTH)
    assert not any("nothing to do" in line for line in told)
    assert any("at least 3 are needed" in line for line in told)
    assert "seen" not in report.as_json()
    assert {"trained", "rendered", "skipped", "failed", "wall_s"} <= report.as_json().keys()


@pytest.mark.parametrize("quiet", ["", "--quiet", "-q"])
def test_quiet_leaves_results_and_errors(quiet: str, done: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs.bring_up_to_date, "__defaults__", (FastEngines(), None, None))
    done.edit("visual_style.yaml", {"positive_suffix": "very wide"})
    (done.data.datasets_root / "west/landscape/1.txt").unlink()
    shutil.rmtree(done.data.store_root / "pictures", ignore_errors=True)
    arguments = ["run", *filter(None, [quiet]), "--data", os.fspath(done.data.root)]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 1
    assert "at least 3 are needed" in answer.stdout
    assert ("pictures to make" in answer.stderr) == (not quiet)
    if quiet:
        assert answer.stderr == ""
