"""Each command's help has examples that the real command line understands; the shell completes what there is."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sq_pipeline.cli import app
from sq_pipeline.cli.terminal.examples import EXAMPLES
from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.docs.command_line import commands
from sq_pipeline_tests.hints.parsing import split_name
from sq_pipeline_tests.pipeline.fast import chapter, lora, poi, write_yaml

PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'sq-pipeline'; from sq_pipeline.cli import main; main()"]


def test_no_example_is_of_a_command_that_there_is_not() -> None:
    assert EXAMPLES.keys() <= commands().keys()


@pytest.mark.parametrize("command", commands())
def test_each_help_has_examples_that_work(command: str) -> None:
    """Parsed by the real command line, as a shell splits them; nothing is done."""
    told = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=80).output
    examples = re.findall(r"^ +sq-pipeline (.+)$", told.partition("Examples:")[2], re.MULTILINE)
    assert examples, "no example: its line in `cli/terminal/examples.py` is missing"
    for example in examples:
        words = shlex.split(example.partition(">")[0], comments=True)
        name, arguments = split_name(words)
        assert name == command
        with commands()[name].make_context(name, arguments) as context:
            assert context.params
    assert max(map(len, told.partition("Examples:")[2].splitlines())) <= 80


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """Two genres, of which one has a world more, with people too."""
    data = DataDir(tmp_path / "my game")
    for genre, worlds in (("west", ("old", "new")), ("sea", ("deep",))):
        write_yaml(
            data.genre_root(genre) / "visual_style.yaml",
            {"positive_suffix": "wide", "loras": [lora(f"{genre}_land", genre)]},
        )
        for world in worlds:
            names = ("Mill", "Mine") if world == "old" else ("Bay",)  # worlds of a genre share a folder
            places = {"chapters": [chapter(*map(poi, names))]}
            write_yaml(data.genre_root(genre) / f"worlds/{world}/history.yaml", places)
    return data


CASES = [
    ("run --world ", ["sea/deep", "west/new", "west/old"]),
    ("run --world west/n", ["west/new"]),
    ("plan --world nowhere", []),
    ("run --tier p", ["portrait"]),
    ("takes ", ["sea/deep/", "west/new/", "west/old/"]),
    ("takes west/old/", ["west/old/mill", "west/old/mine"]),
    ("takes --tier portrait west/old/", []),
    ("takes west/old/min", ["west/old/mine"]),
    ("pick west/old/min", ["west/old/mine"]),
    ("unlock west/old/min", ["west/old/mine"]),
    ("choices move west/old/min", ["west/old/mine"]),
    ("run --replace west/old/min", ["west/old/mine"]),
    ("adapter promote ", ["sea_land", "west_land"]),
    ("adapter rollback we", ["west_land"]),
    ("adapter history west/", ["west/west_land"]),
    ("adapter choose s", ["sea_land"]),
    ("run --data nowhere --world ", []),
]


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_the_shell_completes_what_there_is(typed: str, offered: list[str], data: DataDir) -> None:
    environment = {
        **os.environ,
        "SQ_DATA": str(data.root),
        "_SQ_PIPELINE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"sq-pipeline {typed}",
        "COMP_CWORD": str(len(typed.split(" "))),
    }
    told = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=False)
    assert (told.stdout.split(), told.stderr) == (offered, "")


def test_completing_a_broken_game_says_nothing_and_loads_no_engine(data: DataDir) -> None:
    (data.genre_root("west") / "visual_style.yaml").write_text("loras: [")
    code = (
        "import sys, types; from pathlib import Path\n"
        "from sq_pipeline.cli.terminal import completion\n"
        f"context = types.SimpleNamespace(params={{'data': Path({str(data.root)!r})}})\n"
        "print(completion.complete_world(context, 's'), completion.complete_picture(context, 'nowhere/'))\n"
        "print([name for name in ('mlx', 'mflux', 'dagster', 'PIL', 'numpy') if name in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("['sea/deep'] []\n[]\n", "")


def test_completion_can_be_installed_and_looked_at() -> None:
    options = {"--install-completion", "--show-completion"}
    assert options <= set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, ["--help"]).output))
