"""With the real engines: an earlier adapter put back in use, and the newer one again; nothing is rendered for it."""

import pytest

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.end_to_end.conftest import run_command

pytestmark = [pytest.mark.long, pytest.mark.takes(s=120)]

NAME = "neon_tides_landscape"


def _pictures(data: DataDir) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (data.genre_root("neon_tides") / "images/poi").glob("*.png")}


def test_an_adapter_is_put_back_and_the_newer_one_again(copy: DataDir) -> None:
    at, first = ("--data", copy.root, "--json"), _pictures(copy)
    recipe = copy.datasets_root / "neon_tides/landscape/lora.yaml"
    assert "iterations: 4\n" in recipe.read_text()
    recipe.write_text(recipe.read_text().replace("iterations: 4\n", "iterations: 5\n"))
    report = run_command("run", *at).report
    assert (len(report["trained"]), report["failed"], len(report["rendered"])) == (1, [], len(first))
    newer = _pictures(copy)
    answer = run_command("adapter", "rollback", NAME, "--by", "Bo", "--because", "softer", *at)
    assert (answer.code, answer.err) == (0, "")
    report = run_command("run", *at).report
    assert (report["rendered"], report["trained"], report["failed"], report["waiting"]) == ([], [], [], [])
    assert _pictures(copy) == first
    assert any("put back by Bo" in warning for warning in run_command("plan", *at).report["warnings"])
    assert run_command("adapter", "promote", NAME, "--by", "Ada", *at).code == 0
    assert run_command("run", *at).report["rendered"] == []
    assert _pictures(copy) == newer
    history = run_command("adapter", "history", NAME, *at).report["promotions"]
    assert [row["act"] for row in history] == ["promotion", "rollback", "promotion", "promotion"]
    assert [row["is_in_use"] for row in history] == [True, False, False, False]
