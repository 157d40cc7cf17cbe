"""One cause is printed once, with what it stops first and how many more wait for it. JSON keeps every entry."""

import json
import os
from typing import Any

import pytest
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.cli.causes import causes_of
from sq_pipeline.cli.pipeline_commands import blocked_rows
from sq_pipeline.cli.terminal.summary import summarise
from sq_pipeline_tests.pipeline.fast import FastEngines, write_yaml
from sq_pipeline_tests.pipeline.game import Game

LORAS, WORLDS = "west/loras/west_land", "west/worlds"
SLIP = "did you mean `iterations`?"


def entry(asset: str, reason: str, *chain: str, status: str = "blocked") -> dict[str, Any]:
    return {"asset": asset, "status": status, "reasons": [reason], "chain": list(chain)}


TORN = entry("a/dataset", "a.txt: is torn; mend it")
BEHIND_IT = [
    entry("a/adapter", "because a/dataset (a.txt: is torn; mend it)", "a/dataset"),
    entry("w/stack", "because a/adapter ← a/dataset (a.txt: is torn; mend it)", "a/adapter", "a/dataset"),
]
ALIKE = [entry(f"{name}/adapter", "flux1-dev is not on this machine") for name in "abc"]
PLACES = [entry(f"w/poi_images:{slug}", "tiers.guidance: takes none") for slug in ("mill", "inn")]
HELD = entry("w/poi_images:mill", "because w/prompts:mill (never made)", "w/prompts:mill")
SAYS_MORE = entry("a/promoted_adapter", "then it waits for a person", "a/dataset", status="waiting")

CASES: list[tuple[str, list[dict[str, Any]], list[tuple[str, str]]]] = [
    ("nothing", [], []),
    ("a chain", [TORN, *BEHIND_IT], [("a/dataset (2 more wait for this)", "a.txt: is torn; mend it")]),
    ("the first one is told late", [*BEHIND_IT, TORN],
     [("a/dataset (2 more wait for this)", "a.txt: is torn; mend it")]),
    ("the same of several", ALIKE, [("a/adapter (2 more wait for this)", "flux1-dev is not on this machine")]),
    ("of places, all are named", PLACES, [("w/poi_images: mill, inn (2)", "tiers.guidance: takes none")]),
    ("two causes", [TORN, ALIKE[0], BEHIND_IT[0]],
     [("a/dataset (1 more waits for this)", "a.txt: is torn; mend it"),
      ("a/adapter", "flux1-dev is not on this machine")]),
    ("the first one is not told", [HELD, entry("w/gallery", HELD["reasons"][0], "w/poi_images:mill", "w/prompts:mill")],
     [("w/poi_images:mill (1 more waits for this)", "because w/prompts:mill (never made)")]),
    ("one that waits by itself", [TORN, SAYS_MORE],
     [("a/dataset", "a.txt: is torn; mend it"), ("a/promoted_adapter", "then it waits for a person")]),
    ("a fault and a wait in the same words", [TORN, entry("b/x", TORN["reasons"][0], status="waiting")],
     [("a/dataset", "a.txt: is torn; mend it"), ("b/x", "a.txt: is torn; mend it")]),
]  # fmt: skip


@pytest.mark.parametrize(("items", "rows"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_a_cause_is_one_row(items: list[dict[str, Any]], rows: list[tuple[str, str]]) -> None:
    assert blocked_rows(items) == rows
    # nobody is lost on the way
    assert sum(1 + cause.more for cause in causes_of(items)) == len(items)


def test_a_run_says_a_fault_once_for_all_that_hangs_on_it(game: Game) -> None:
    (game.data.datasets_root / "west/landscape/lora.yaml").write_text("iteratoins: 5\n")
    report = game.run()
    (line,) = (line for line in summarise(report, game.data, width=80, height=99) if SLIP in line)
    assert line.startswith(f"blocked: {LORAS}/training_dataset: ")
    assert line.endswith(f" ({len(report.blocked) - 1} more wait for this)")
    assert {item["asset"] for item in report.blocked} >= {f"{LORAS}/mlx_adapter", f"{WORLDS}/old/stack"}


def test_a_run_says_once_whom_it_waits_for(game: Game) -> None:
    write_yaml(game.data.settings_file, {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}})
    report = game.run()
    lines = summarise(report, game.data, width=80, height=99)
    waiting = [line for line in lines if line.startswith("waiting: ")]
    assert len(report.waiting) == 4
    assert len(waiting) == 2
    assert waiting[0].startswith(f"waiting: {LORAS}/promoted_adapter: waits for a person: `sq-pipeline adapter promote")
    assert all(line.endswith(" (1 more waits for this)") for line in waiting)


@pytest.mark.parametrize("is_json", [True, False])
def test_a_plan_says_a_fault_once_and_json_says_all(is_json: bool, game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", FastEngines())
    monkeypatch.setenv("COLUMNS", "200")
    (game.data.datasets_root / "west/landscape/lora.yaml").write_text("iteratoins: 5\n")
    arguments = ["plan", "--data", os.fspath(game.data.root), *(["--json"] if is_json else [])]
    answer = CliRunner().invoke(app, arguments)
    blocked = game.plan()["blocked"]
    assert len(blocked) >= 10
    told = f"({len(blocked) - 1} more wait for this)"
    (line,) = (line for line in answer.stderr.splitlines() if SLIP in line)
    assert line.startswith(f"blocked: {LORAS}/training_dataset: ")
    assert line.endswith(told)
    if is_json:
        assert json.loads(answer.stdout)["blocked"] == blocked
    else:
        assert answer.stdout.count("iteratoins") == 1
        assert f"{LORAS}/training_dataset {told}" in answer.stdout


def test_a_gallery_without_pictures_says_why_there_are_none(game: Game) -> None:
    (game.data.datasets_root / "west/landscape/lora.yaml").write_text("iteratoins: 5\n")
    (gallery,) = (item for item in game.plan()["blocked"] if item["asset"] == f"{WORLDS}/old/gallery")
    assert gallery["reasons"][0].startswith(f"because {WORLDS}/old/poi_images:mill ← stack ← {LORAS}/promoted_adapter")
    assert SLIP in gallery["reasons"][0]
