"""What is told of choices of pictures is not told any more, once its hint is carried out, each way that it names."""

import functools
import socket
from collections.abc import Sequence

import pytest

from sq_pipeline.common.errors import SelectionError
from sq_pipeline.defs import runs
from sq_pipeline.gallery.listening import take_port
from sq_pipeline_tests.hints.choice_cases import CASES, ChoiceCase
from sq_pipeline_tests.hints.conftest import Cli
from sq_pipeline_tests.hints.parsing import commands_in
from sq_pipeline_tests.pipeline.conftest import *  # noqa: F403 - its fixtures
from sq_pipeline_tests.pipeline.game import Game

pytestmark = pytest.mark.takes(s=60)

_KEEPS = ("adopt", "lock")  # another picture than was asked for


@pytest.fixture
def person(done: Game, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line over the game, with its engines."""
    monkeypatch.setenv("SQ_DATA", str(done.data.root))
    monkeypatch.setattr("sq_pipeline.wiring.real_engines", done.engines)
    monkeypatch.setattr(runs, "bring_up_to_date", functools.partial(runs.bring_up_to_date, make_engines=done.engines))
    monkeypatch.setattr("sq_pipeline.cli.pipeline_commands.end_with_parent", lambda: None)
    return cli


def _ways(case: ChoiceCase) -> list[Sequence[str] | None]:
    """The commands of the hint, each a way out; None for what is done without one."""
    commands = [tuple(words) for words in commands_in(case.hint)]
    return [*([None] if case.answer or not commands else []), *commands]


WAYS = [
    pytest.param(case, words, id=f"{case.hint[:50]}: {' '.join(words or ['by hand'])[:30]}")
    for case in CASES
    for words in _ways(case)
]


@pytest.mark.parametrize(("case", "words"), WAYS)
def test_the_hint_of_a_choice_works(done: Game, person: Cli, case: ChoiceCase, words: Sequence[str] | None) -> None:
    root = str(done.data.root)
    known = {"N": "2", **(case.make(done) or {})}

    def ask(text: str) -> tuple[int, str]:
        code, said = person.carry_out([word.replace("ROOT", root) for word in text.split("|")], **known)
        return code, said.replace(root, "ROOT")

    code, said = ask(case.ask)
    assert case.hint in said, said
    if words is None:
        if case.answer is not None:
            case.answer(done)
    else:
        if case.first is not None:
            case.first(done)
        code, told = person.carry_out([word.replace("ROOT", root) for word in words], **known)
        assert code == 0, told
        if words[0] in _KEEPS:
            return
    code, said = ask(case.then or case.ask)
    assert case.hint not in said
    assert code == 0, said


def test_a_port_that_is_taken_is_another_s() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SelectionError, match="name another with `--port 0`"):
            take_port(taken.getsockname()[1])
    with take_port(0) as found:
        assert found.getsockname()[1] > 0
