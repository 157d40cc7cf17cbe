"""The environment of child processes: what it says of the hub is what the hub itself understands."""

import json
import subprocess
import sys

import pytest

from sq_pipeline.training.environment import child_environment, may_download

WRITTEN = {None: "1", "": "1", "1": "1", "0": "0", "yes": "yes", "ON": "ON", "off": "off", "true": "true"}
ASK_HUB = """
import importlib, json, os, sys
import huggingface_hub.constants as constants
told = []
for value in json.loads(sys.argv[1]):
    os.environ["HF_HUB_OFFLINE"] = value
    told.append(importlib.reload(constants).HF_HUB_OFFLINE)
print(json.dumps(told))
"""


@pytest.mark.parametrize(("written", "expected"), WRITTEN.items())
def test_offline_unless_a_person_said_otherwise(
    written: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if written is None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("HF_HUB_OFFLINE", written)
    monkeypatch.setenv("SOMETHING", "else")
    environment = child_environment()
    assert (environment["HF_HUB_OFFLINE"], environment["SOMETHING"]) == (expected, "else")


def test_the_hub_understands_it_likewise() -> None:
    values = sorted(set(WRITTEN.values()))
    command = [sys.executable, "-c", ASK_HUB, json.dumps(values)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert dict(zip(values, told, strict=True)) == {
        value: not may_download({"HF_HUB_OFFLINE": value}) for value in values
    }
