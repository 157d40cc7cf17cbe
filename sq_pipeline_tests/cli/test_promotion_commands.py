"""`adapter promote`, `adapter history`, `adapter rollback`: what they print, and what they refuse."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.pipeline.fast import lora, write_yaml
from sq_pipeline_tests.pipeline.line import Line
from sq_pipeline_tests.pipeline.test_sign_off import WEAK, first  # noqa: F401 - its fixture


@pytest.fixture
def line(first: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:  # noqa: F811
    shutil.copytree(first.root, tmp_path / "data", symlinks=True)
    line = Line(DataDir(tmp_path / "data"))
    line.seed = 2
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", line.engines)
    monkeypatch.setenv("COLUMNS", "400")
    return line


def call(line: Line, *words: str) -> str:
    answer = CliRunner().invoke(app, ["adapter", *words, "--data", str(line.data.root)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def refused(line: Line, *words: str) -> str:
    with pytest.raises(SqPipelineError) as caught:
        CliRunner().invoke(app, ["adapter", *words, "--data", str(line.data.root)], catch_exceptions=False)
    return str(caught.value)


def test_the_history_back_and_forth(line: Line) -> None:
    (new, old) = json.loads(call(line, "history", "west_land", "--json"))["promotions"]
    assert (new["by"], new["is_in_use"], old["is_in_use"]) == ("Ada", True, False)
    assert new["path"].startswith("store/objects/")
    said = call(line, "rollback", "west_land", "--by", "Bo", "--because", "softer")
    assert said.startswith(f"west/west_land: version {old['version']}, put back by Bo on 20")
    assert f"because softer, in place of version {new['version']}, promoted by Ada on 20" in said
    assert "`sq-pipeline run --data " in said
    told = call(line, "history", "west_land")
    assert f"{old['version']}, in use" in told
    assert "Bo (put back)" in told
    assert "because softer" in told
    result = json.loads(call(line, "rollback", "west_land", "--to", new["version"], "--by", "Bo", "--json"))
    assert (result["adapter"], result["act"], result["promoted_by"]) == ("west/west_land", "rollback", "Bo")
    assert (result["adapter_version"], result["replaced"]) == (new["adapter_version"], old["adapter_version"])


def test_over_a_failed_check(line: Line) -> None:
    line.set("manual", **WEAK)
    line.train(5)
    line.bring_up()
    assert "picture changed: " in refused(line, "promote", "west_land", "--by", "Cy")
    assert "because: is empty" in refused(line, "promote", "west_land", "--by", "Cy", "--because", "")
    said = json.loads(call(line, "promote", "west_land", "--by", "Cy", "--because", "meant", "--json"))
    assert (said["promoted_now"], said["because"], said["promoted_by"]) == (True, "meant", "Cy")
    (latest, *_) = json.loads(call(line, "history", "west_land", "--json"))["promotions"]
    assert (latest["verdict"].startswith("failed picture changed: "), latest["because"]) == (True, "meant")


def test_what_was_never_promoted_has_no_history(line: Line) -> None:
    line.data.manifest("west").unlink()
    line.data.promotion_history("west").unlink()
    assert call(line, "history", "west_land") == "west/west_land was never promoted\n"
    assert json.loads(call(line, "history", "west_land", "--json"))["promotions"] == []
    assert "was never promoted" in refused(line, "rollback", "west_land", "--by", "Bo")


def test_two_names_alike(line: Line) -> None:
    write_yaml(line.data.genre_root("east") / "visual_style.yaml", {"loras": [lora("west_land", "east/landscape")]})
    write_yaml(
        line.data.genre_root("east") / "history.yaml",
        {"points_of_interest": [{"name": "Inn", "visual_prompt": "an inn"}]},
    )
    for words in (("history", "west_land"), ("rollback", "west_land", "--by", "Bo")):
        assert "'west_land' is the name of several adapters; known are east/west_land, " in refused(line, *words)
    assert "never" not in call(line, "history", "west/west_land")
    assert call(line, "history", "east/west_land") == "east/west_land was never promoted\n"
