"""The demo, run once for all of these tests by the command line, with the real engines."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sq_pipeline.common.layout import DataDir

COMMAND = str(Path(sys.executable).with_name("sq-pipeline"))


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """Its one JSON object."""
        return json.loads(self.out)


def run_command(*arguments: str | Path) -> Answer:
    """Run `sq-pipeline` as a person does, in a process of its own."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=900)
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Demo:
    """The finished demo: its data directory and what the command printed."""

    data: DataDir
    report: dict[str, Any]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`sq-pipeline demo DIR` on an empty directory, whose name is not a plain word."""
    root = tmp_path_factory.mktemp("end to end") / "my games é"
    answer = run_command("demo", root, "--json")
    assert answer.code == 0, answer.err
    return Demo(DataDir(root), answer.report)


@pytest.fixture
def copy(demo: Demo, tmp_path: Path) -> DataDir:
    """A copy of the finished demo, for a test that changes it."""
    root = tmp_path / "copy"
    shutil.copytree(demo.data.root, root)
    return DataDir(root)
