"""The repository as a whole: help and settings hold together, and name no place they must not."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.defs.instance import SETTINGS
from sq_pipeline_tests.docs.command_line import commands

ROOT = Path(__file__).resolve().parents[1]


def test_the_command_line_is_the_contract() -> None:
    wanted = {
        "demo",
        "plan",
        "run",
        "prompts",
        "dataset check",
        "dataset import",
        "ui",
        "serve",
        "doctor",
        "allow",
        "verify-image",
        "takes",
        "pick",
        "lock",
        "adopt",
        "unlock",
        "history",
        "restore",
        "choices list",
        "choices move",
        "gallery",
        "gate calibrate",
    }
    wanted |= {f"adapter {name}" for name in ("inspect", "remap", "fidelity", "verify", "choose")}
    wanted |= {f"adapter {name}" for name in ("promote", "history", "rollback")}
    assert set(commands()) == wanted


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help(command: str) -> None:
    answer = CliRunner().invoke(app, [*command.split(), "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_both_instance_settings_say_the_same() -> None:
    """`dagster.yaml` at the root is for a plain `dagster dev`; it adds only where `data/` keeps its runs."""
    at_root = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert at_root.pop("storage") == {"sqlite": {"base_dir": "data/store/dagster"}}
    assert at_root == yaml.safe_load(SETTINGS)


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_registry_and_no_large_file() -> None:
    hosts = re.compile(rb"pypi\.(org|python)|pythonhosted|registry\.npmjs", re.IGNORECASE)
    for path in _tracked():
        if path.is_file() and path != Path(__file__):
            assert path.stat().st_size <= 20_000_000, path
            assert path.suffix == ".safetensors" or not hosts.search(path.read_bytes()), path


def test_what_is_computed_is_not_tracked() -> None:
    computed = ("data/store/", "data/content/lora/", "data/content/lora-datasets/")
    names = [path.relative_to(ROOT).as_posix() for path in _tracked()]
    assert not [name for name in names if name.startswith(computed) or "/images/" in name or name == "uv.lock"]
