"""The command line in this process, as a person meets it."""

import sys
from collections.abc import Sequence

import pytest

from sq_pipeline.cli import main
from sq_pipeline_tests.hints.parsing import PLACEHOLDERS


class Cli:
    """Runs a command: its exit code, and all that it said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str]:
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["sq-pipeline", *map(str, arguments)])
        self._monkeypatch.setenv("COLUMNS", "100000")
        with pytest.raises(SystemExit) as ended:
            main()
        output = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output.out + output.err

    def carry_out(self, words: Sequence[str], **known: object) -> tuple[int, str]:
        """A command of a hint, with what only a person knows filled in."""
        return self(*(known.get(word, PLACEHOLDERS.get(word, word)) for word in words))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)
