"""Tests of fetching wheels, with a uv of our own that needs no network, and of loaders that cannot be had."""

from pathlib import Path

import pytest

from sq_pipeline_tests.adapters.files import SMALL
from sq_pipeline_tests.loaders.apply import applied_update
from sq_pipeline_tests.loaders.dialect_files import write_kohya
from sq_pipeline_tests.loaders.factors import Recipe
from sq_pipeline_tests.loaders.outcomes import Loader, NotRun
from sq_pipeline_tests.loaders.wheels import wheel_folder

# writes a file into the folder after `--target`, as an installer does, counts its calls, and ends as told
_UV = """#!/bin/sh
while [ $# -gt 0 ]; do
  if [ "$1" = --target ]; then mkdir -p "$2/demo" && echo "x = 1" > "$2/demo/__init__.py"; fi
  shift
done
echo called >> "{calls}"
echo "some trouble" >&2
exit {code}
"""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("SQ_TEST_WHEELS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def _uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    script, calls = tmp_path / f"uv-{code}", tmp_path / "calls"
    script.write_text(_UV.format(calls=calls, code=code))
    script.chmod(0o755)
    monkeypatch.setenv("UV", str(script))
    return calls


def test_a_wheel_is_fetched_once(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _uv(tmp_path, monkeypatch, code=0)
    for _ in range(2):
        assert wheel_folder("demo", "1.0") == wheels / "demo-1.0"
    assert (wheels / "demo-1.0" / "demo" / "__init__.py").is_file()
    assert calls.read_text().split() == ["called"]
    assert [path.name for path in wheels.iterdir()] == ["demo-1.0"]


def test_a_wheel_that_broke_off_leaves_nothing_behind(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _uv(tmp_path, monkeypatch, code=1)
    for _ in range(2):
        assert wheel_folder("demo", "1.0") == NotRun("demo==1.0 cannot be had: some trouble")
    assert calls.read_text().split() == ["called"]  # and its failure is remembered
    assert list(wheels.iterdir()) == []


@pytest.mark.parametrize("loader", [Loader("mflux", "99.99.99"), Loader("diffusers", "99.99.99")], ids=str)
def test_a_version_that_does_not_exist_is_not_run(loader: Loader, wheels: Path, tmp_path: Path) -> None:
    built = write_kohya(tmp_path / "a.safetensors", Recipe())
    outcome = applied_update(loader, built.path, SMALL)
    assert isinstance(outcome, NotRun)
    assert outcome.reason.startswith(f"{loader.name}==99.99.99 cannot be had: ")
    assert list(wheels.iterdir()) == []


def test_a_uv_that_is_not_there_is_not_replaced_by_another(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV", str(tmp_path / "nowhere"))
    built = write_kohya(tmp_path / "a.safetensors", Recipe())
    outcome = applied_update(Loader("mflux", "0.18.1"), built.path, SMALL)
    assert isinstance(outcome, NotRun)
    assert "nowhere" in outcome.reason
