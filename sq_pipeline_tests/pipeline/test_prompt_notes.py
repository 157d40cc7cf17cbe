"""`prompts --check` and `plan` say what a model may make of a prompt's words; a setting ends each check."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sq_pipeline.cli import main
from sq_pipeline.content.prompt_checks import PROMPT_CHECKS
from sq_pipeline_tests.cases.packs import build
from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game

NOISY = {
    "mill": "a mill, no people, meanwhile a fire",
    "mine": "a mine without a door",
    "inn": "an inn with no roof",
    "well": "a well without water",
    "hut": "a hut without walls",
}


def show(game: Game, places: dict[str, str]) -> None:
    entries = [{"name": name.capitalize(), "visual_prompt": text} for name, text in places.items()]
    write_yaml(game.data.world_root("west", "old") / "history.yaml", {"chapters": [{"points_of_interest": entries}]})


def settings(game: Game, **changes: Any) -> None:
    path = game.data.settings_file
    write_yaml(path, {**yaml.safe_load(path.read_text()), **changes})


def noted(game: Game) -> list[str]:
    return [line for line in game.plan()["warnings"] if "ignore_prompt_checks" in line]


def test_plan_tells_each_check_once_a_file_and_how_to_end_it(done: Game) -> None:
    assert not noted(done)
    show(done, NOISY)
    negations, scenes = noted(done)
    assert negations.startswith(
        "content/genre_packs/west/worlds/old/history.yaml: negations in 5 prompts of west/old: "
    )
    assert "Mill “no people”; Mine “without a door”; Inn “no roof”; and 2 more: models paint what is named" in negations
    assert negations.endswith("`ignore_prompt_checks: [negations]` in sq.yaml ends this")
    assert "scenes in 1 prompt of west/old: Mill “meanwhile”: two scenes in one picture" in scenes


def test_what_is_settled_is_told_as_long_as_it_is_asked_for(done: Game) -> None:
    """A world that is fresh as a whole is not read again; its notes are."""
    show(done, NOISY)
    before = noted(done)
    assert len(before) == 2
    assert not done.run().failed
    assert noted(done) == before
    assert noted(done) == before
    settings(done, ignore_prompt_checks=["negations"])
    assert [line.partition(" in ")[0].rpartition(": ")[2] for line in noted(done)] == ["scenes"]
    settings(done, ignore_prompt_checks=["negations", "scenes"])
    assert not noted(done)
    assert not done.plan()["stale"]
    settings(done, ignore_prompt_checks=[])
    assert noted(done) == before


def prompts(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["sq-pipeline", "prompts", "--check", *more, "--data", str(root)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return capsys.readouterr().out


def test_the_command_says_where_what_and_why(
    tmp_path: Path, shipped: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build("4-abbreviation-mister", tmp_path / "data", shipped.root)
    found, clip = json.loads(prompts(root, monkeypatch, capsys, "--json"))["checks"]
    assert (clip["check"], clip["words"]) == ("clip", ["77 of 89 tokens"])
    assert found == {
        "world": "west/alpha",
        "tier": "landscape",
        "name": "Old Chapel",
        "slug": "old_chapel",
        "file": "content/genre_packs/west/worlds/alpha/history.yaml",
        "field": "chapters[0].points_of_interest[0]",
        "check": "times",
        "words": ["dawn and dusk"],
        "reason": PROMPT_CHECKS["times"].reason,
        "hint": PROMPT_CHECKS["times"].hint,
    }
    text = prompts(root, monkeypatch, capsys)
    assert "dawn and dusk" in text
    assert f"times: {PROMPT_CHECKS['times'].reason}; {PROMPT_CHECKS['times'].hint}" in text
    assert "something is noted of 1 of 1 prompts" in text
    settings = root / "sq.yaml"
    settings.write_text(f"{settings.read_text()}ignore_prompt_checks: [times, clip]\n")
    assert "something is noted of 0 of 1 prompts" in prompts(root, monkeypatch, capsys)
    assert json.loads(prompts(root, monkeypatch, capsys, "--json"))["checks"] == []


def test_a_check_that_is_none_is_a_fault_of_the_settings(done: Game) -> None:
    from sq_pipeline.common.errors import ContentError

    settings(done, ignore_prompt_checks=["negation"])
    with pytest.raises(ContentError, match="ignore_prompt_checks"):
        done.plan()
