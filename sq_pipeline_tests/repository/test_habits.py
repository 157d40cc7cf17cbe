"""What keeps the house in order runs everywhere alike: the workflow, the hooks, the licence, the declared versions."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _load(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / name).read_text())


def test_the_workflow_runs_what_we_run_on_every_python_that_we_name() -> None:
    job = _load(".github/workflows/ci.yml")["jobs"]["ci"]
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    matrix = job["strategy"]["matrix"]
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    named = SpecifierSet(PROJECT["project"]["requires-python"])
    assert matrix["python"] == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in named]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.stem)
def test_what_github_reads_is_sound(path: Path) -> None:
    found = yaml.safe_load(path.read_text())
    if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config":
        assert {"name", "description", "body"} <= found.keys()
        fields = [field["id"] for field in found["body"]]
        assert len(fields) == len({*fields})
    else:
        assert found


def test_hooks_fetch_nothing_and_are_part_of_what_must_pass() -> None:
    must_pass = (ROOT / ".ci/run").read_text()
    (repository,) = _load(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].removesuffix(" --fix") in must_pass, hook["entry"]


def test_the_licence_is_named_where_it_is_looked_for() -> None:
    assert PROJECT["project"]["license"] == "MIT"
    first, holder = (ROOT / "LICENSE").read_text().split("\n\n")[:2]
    assert first == "MIT License"
    assert holder == "Copyright (c) 2026 the sq_pipeline authors"


def test_every_dependency_has_a_lower_bound_that_its_pin_meets() -> None:
    pins = dict(pin.split("==") for pin in PROJECT["tool"]["uv"]["constraint-dependencies"])
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    for requirement in map(Requirement, wanted):
        assert re.search(r">=|==", str(requirement.specifier)), requirement
        # a package in another version on each Python is not pinned
        assert requirement.name in pins or requirement.name == "numpy", requirement
        assert pins.get(requirement.name) is None or pins[requirement.name] in requirement.specifier, requirement
