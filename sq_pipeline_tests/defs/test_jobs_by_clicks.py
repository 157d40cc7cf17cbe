"""The jobs with forms through real processes: a launchpad that is filled in, a queue, a run of its own process."""

from typing import Any

import pytest

from sq_pipeline.defs.jobs.asset_runs import BEGUN_BY
from sq_pipeline.defs.jobs.job import form_of
from sq_pipeline_tests.defs.test_daemon import Automat, automat  # noqa: F401 - a fixture
from sq_pipeline_tests.pages import wait
from sq_pipeline_tests.pipeline.fast import poi

pytestmark = [pytest.mark.long, pytest.mark.takes(s=200)]

_DONE_S = 150


def start(of: Automat, job: str, **form: Any) -> tuple[str, str]:
    """Launch it with the form as it opens, and these; its run, and how that ended."""
    config = of.pages.form(job)
    config["ops"][form_of(job)]["config"] |= form
    run = of.pages.start(job, config)
    status = {"": ""}

    def is_over() -> bool:
        status[""] = next(one["status"] for one in of.pages.runs() if one["id"] == run)
        return status[""] in ("SUCCESS", "FAILURE", "CANCELED")

    wait(is_over, _DONE_S, job)
    return run, status[""]


def test_jobs_are_started_from_their_forms(automat: Automat) -> None:  # noqa: F811 - the fixture
    for sensor in ("content", "adapters", "night"):
        automat.pages.set_sensor(sensor, is_on=False)
    run, status = start(automat, "train_tonight")
    assert status == "SUCCESS"
    assert automat.pages.outputs(run)["adapters"] == "TableMetadataEntry"
    begun = [one for one in automat.pages.runs() if one["tags"].get(BEGUN_BY) == run]
    assert [one["status"] for one in begun] == ["SUCCESS", "SUCCESS"]
    assert start(automat, "render_a_world")[1] == "SUCCESS"
    assert {*automat.published()} == {"mill", "mine", "inn"}
    assert start(automat, "render_a_world", world="west/nowhere")[1] == "FAILURE"
    run, status = start(automat, "more_takes_of_a_picture", count=2)
    assert status == "SUCCESS"
    shown = automat.pages.outputs(run)
    assert (shown["takes"], shown["seeds"]) == ("MarkdownMetadataEntry", "TableMetadataEntry")
    assert start(automat, "verify_an_adapter")[1] == "SUCCESS"
    assert start(automat, "promote_an_adapter")[1] == "FAILURE"
    assert start(automat, "promote_an_adapter", by="Ana")[1] == "SUCCESS"
    automat.places("old", poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn"))
    before = automat.published()
    assert start(automat, "render_a_world")[1] == "SUCCESS"
    after = automat.published()
    assert [slug for slug in after if after[slug] != before[slug]] == ["mill"]
