"""In tests, what a step prints goes into Dagster's file, and no process is started for it."""

import subprocess
import sys
from pathlib import Path

import pytest
from dagster import job, op

from sq_pipeline.common.layout import DataDir
from sq_pipeline.defs.instance import open_instance


@op
def words() -> None:
    sys.stdout.write("some words\n")


@job
def alone() -> None:
    words()


def test_what_a_step_prints_is_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **_named: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    data = DataDir(tmp_path)
    with open_instance(data) as instance:
        assert alone.execute_in_process(instance=instance).success
    files = [path for path in data.dagster_home.rglob("*.out") if "some words" in path.read_text()]
    assert len(files) == 1
