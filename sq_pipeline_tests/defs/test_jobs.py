"""The jobs that a person starts from the pages: their forms, what they do, what they say when it cannot be."""

import re
from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter, ExecuteInProcessResult, TableMetadataValue
from PIL import Image

from sq_pipeline.defs.build import build_defs
from sq_pipeline.defs.jobs.asset_runs import BEGUN_BY
from sq_pipeline.defs.jobs.job import form_of
from sq_pipeline.defs.jobs.table import JOBS, build_jobs
from sq_pipeline.pipeline.manifests import read_manifest
from sq_pipeline_tests.defs.ticks import burn_the_mill
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.fast import write_yaml
from sq_pipeline_tests.pipeline.game import Game

pytestmark = pytest.mark.takes(s=60)

IMAGES = AssetKey(["west", "worlds", "old", "poi_images"])
MANUAL = {"promotion": "manual", "thresholds": {"ssim_trigger_max": 1.0}}


def start(game: Game, name: str, **form: Any) -> ExecuteInProcessResult:
    """As the launchpad starts it, with what its form has in it and these."""
    defs = build_defs(data=game.data, make_engines=game.engines, make_jobs=build_jobs)
    job = defs.resolve_job_def(name)
    config = {**(job.run_config or {})["ops"][form_of(name)]["config"], **form}
    return job.execute_in_process(
        instance=game.instance,
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {form_of(name): {"config": config}},
        },
    )


def shown(result: ExecuteInProcessResult) -> dict[str, Any]:
    """What the page of the run shows of what was done."""
    assert result.success
    (event,) = [event for event in result.all_events if event.is_successful_output]
    metadata = event.step_output_data.metadata
    return {name: v if isinstance(v, TableMetadataValue) else v.value for name, v in metadata.items()}


def refusal(result: ExecuteInProcessResult) -> str:
    """What it shows of the step that failed: no crash."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert told is not None, event.step_failure_data.error
    return told.description or ""


def rows(table: TableMetadataValue) -> list[dict[str, Any]]:
    return [dict(record.data) for record in table.records]


def retrain(game: Game, seed: int) -> None:
    recipe = game.data.datasets_root / "west/landscape/lora.yaml"
    recipe.write_text(re.sub(r"seed: \d+", f"seed: {seed}", recipe.read_text()))


@pytest.mark.parametrize("kind", JOBS, ids=lambda kind: kind.name)
def test_each_field_of_a_form_says_what_it_is_for(kind: Any) -> None:
    told = {name: field.description or "" for name, field in kind.form.model_fields.items()}
    assert told
    assert [name for name, text in told.items() if len(text) < 15 or not text.endswith(".")] == []
    assert kind.name == kind.title.lower().replace(" ", "_")
    assert len(kind.description) > 60


def test_a_form_is_filled_in_with_what_there_is(done: Game) -> None:
    defs = build_defs(data=done.data, make_engines=done.engines, make_jobs=build_jobs)
    assert {job.name for job in defs.get_repository_def().get_all_jobs()} >= {kind.name for kind in JOBS}
    forms = {
        kind.name: (defs.resolve_job_def(kind.name).run_config or {})["ops"][form_of(kind.name)]["config"]
        for kind in JOBS
    }
    assert forms["render_a_world"] == {"world": "west/old", "tier": ""}
    assert forms["more_takes_of_a_picture"]["picture"] == "west/old/mill"
    assert {forms[name]["adapter"] for name in ("verify_an_adapter", "promote_an_adapter")} == {"west/west_land"}
    assert forms["train_tonight"] == {"adapter": ""}


def test_takes_show_their_sheet_on_the_run_and_on_the_picture_which_stays_fresh(done: Game) -> None:
    before, events = done.plan(), len(done.instance.fetch_materializations(IMAGES, limit=99).records)
    found = shown(start(done, "more_takes_of_a_picture", count=2))
    assert (found["rendered"], found["model loads"]) == (2, 1)
    assert found["takes"].startswith("![west/old/mill](data:image/jpeg;base64,")
    assert (done.data.root / found["sheet"]).is_file()
    assert [row["take"] for row in rows(found["seeds"])] == [1, 2]
    records = done.instance.fetch_observations(AssetRecordsFilter(IMAGES), limit=1).records
    (noted,) = [record.asset_observation for record in records]
    assert noted is not None
    assert (noted.partition, noted.metadata["takes"].value) == ("mill", found["takes"])
    assert len(done.instance.fetch_materializations(IMAGES, limit=99).records) == events
    assert done.plan() == before
    assert shown(start(done, "more_takes_of_a_picture", count=2))["rendered"] == 0


def test_a_grid_from_the_form(done: Game) -> None:
    found = shown(start(done, "more_takes_of_a_picture", picture="west/old/inn", vary=["scale=0.5,1.0"], count=1))
    assert [(row["scale"], row["new"]) for row in rows(found["seeds"])] == [("0.5", True), ("1", False)]
    assert "scale" in found["to use a value of scale"]


def test_a_world_is_rendered_and_nothing_is_trained(done: Game) -> None:
    burn_the_mill(done)
    retrain(done, 9)
    trained = len(done.engines.trainer.requests)
    found = shown(start(done, "render_a_world"))
    assert (found["rendered"], found["model loads"]) == (1, 1)
    assert [row["poi"] for row in rows(found["pictures"])] == ["mill"]
    assert isinstance(found["seconds a picture"], float)
    assert len(done.engines.trainer.requests) == trained
    assert any("mlx_adapter" in item["asset"] for item in done.plan()["stale"])
    assert shown(start(done, "render_a_world"))["rendered"] == 0


def test_a_world_whose_picture_waits_says_so(done: Game) -> None:
    path = done.data.published_image("west", "landscape", "mill")
    Image.new("RGB", (64, 64), "red").save(path)
    found = shown(start(done, "render_a_world"))
    assert [row["what"] for row in rows(found["waiting for you"])] == ["west/worlds/old/poi_images:mill"]


def test_a_picture_that_fails_fails_the_job(done: Game) -> None:
    burn_the_mill(done)
    done.engines.renderer.fails_when = lambda request: "burnt" in request.positive_prompt
    assert "the fake was told to fail" in refusal(start(done, "render_a_world"))


def test_what_is_due_is_trained_one_after_the_other_and_used(done: Game) -> None:
    retrain(done, 9)
    before = read_manifest(done.data, "west")["west_land"]["adapter_version"]
    result = start(done, "train_tonight")
    (row,) = rows(shown(result)["adapters"])
    assert (row["adapter"], row["then"]) == ("west/west_land", "in use")
    assert read_manifest(done.data, "west")["west_land"]["adapter_version"] != before
    (run,) = [run for run in done.instance.get_runs() if run.tags.get(BEGUN_BY) == result.run_id]
    assert run.run_id.startswith(row["run"])
    assert shown(start(done, "train_tonight"))["why"] == "no training is due"
    assert "is not due" in shown(start(done, "train_tonight", adapter="west_land"))["why"]


def test_a_training_that_fails_hinders_no_other(done: Game) -> None:
    retrain(done, 9)
    paper = done.data.datasets_root / "west/worlds/paper/landscape"
    for path in paper.glob("*.png"):
        path.write_text("no picture")
    told = refusal(start(done, "train_tonight"))
    assert "no picture" in told or "worlds/paper/landscape" in told
    assert not any("west_land/mlx_adapter" in item["asset"] for item in done.plan()["stale"])


def test_a_verification_shows_its_verdict(done: Game) -> None:
    found = shown(start(done, "verify_an_adapter"))
    assert found["page"] == AssetKey(["west", "loras", "west_land", "verification"])
    assert "report" in found
    requests = len(done.engines.renderer.requests)
    shown(start(done, "verify_an_adapter", adapter="paper_land"))
    assert len(done.engines.renderer.requests) == requests  # it is up to date


def test_what_is_not_trained_is_not_verified(game: Game) -> None:
    told = refusal(start(game, "verify_an_adapter"))
    assert "mlx_adapter" in told
    assert len(game.engines.trainer.requests) == 0


def test_a_yes_and_a_rollback_from_the_form(done: Game) -> None:
    first = read_manifest(done.data, "west")["west_land"]["adapter_version"]
    write_yaml(done.data.settings_file, MANUAL)
    retrain(done, 9)
    done.run()
    assert "waits for a person" in str(done.plan())
    assert "nobody is named" in refusal(start(done, "promote_an_adapter"))
    found = shown(start(done, "promote_an_adapter", by="Ana"))
    assert found["in use"].startswith(f"version {found['version']}, promoted by Ana on ")
    assert read_manifest(done.data, "west")["west_land"]["adapter_version"] != first
    found = shown(start(done, "promote_an_adapter", by="Ana", roll_back_to="previous", because="softer"))
    assert "put back by Ana" in found["in use"]
    assert read_manifest(done.data, "west")["west_land"]["adapter_version"] == first
    assert "no version begins with '0000'" in refusal(start(done, "promote_an_adapter", by="Ana", roll_back_to="0000"))


@pytest.mark.parametrize(
    ("name", "form", "told"),
    [
        ("render_a_world", {"world": "west/olde"}, "there is no world 'west/olde'; known are west/old, west/paper"),
        ("render_a_world", {"tier": "boat"}, "there is no tier 'boat'; use one of landscape"),
        ("more_takes_of_a_picture", {"picture": "west/old/mil"}, "did you mean mill?"),
        ("more_takes_of_a_picture", {"count": 0}, "ask for 1 to 64"),
        ("more_takes_of_a_picture", {"vary": ["scale=big", "x=1"]}, "is no number"),
        ("train_tonight", {"adapter": "sea"}, "there is no adapter 'sea'; known are west/paper_land, west/west_land"),
        ("verify_an_adapter", {"adapter": ""}, "there is no adapter ''; known are west/paper_land, west/west_land"),
        ("promote_an_adapter", {"adapter": "sea", "by": "A"}, "known are west/paper_land, west/west_land"),
    ],
)
def test_what_cannot_be_is_told_with_what_is_known(done: Game, name: str, form: dict[str, Any], told: str) -> None:
    assert told in refusal(start(done, name, **form))
