"""Commands and options in hints, as a person pastes them into a POSIX shell. Each hint that names one has it from here.

So tests find them, parse them with the real command line, and run them. Not here: what is advised, and when.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# who takes `--data`: without it, such a command would read another directory than the one that was meant
OF_DATA = frozenset(
    "allow,adapter choose,adapter fidelity,adapter history,adapter promote,adapter remap,adapter rollback,"
    "adapter verify,adopt,choices list,choices move,dataset check,doctor,gallery,gate calibrate,history,lock,pick,plan,"
    "prompts,restore,run,serve,takes,ui,unlock,verify-image".split(",")
)
_FLAG = "--without-text-encoder"  # the one option of a hint that has no value
_WORD = r"(?:'[^']*'|\"[^\"]*\"|[^\s'\",;`])+"
_PASS = re.compile(rf"pass ({_FLAG}|--[a-z-]+ {_WORD})")

_named: list[Path] = []


@contextmanager
def data_named(data: Path | None) -> Iterator[None]:
    """While this lasts, commands say the data directory as the person named it, so that they work from there."""
    if data is not None:
        name_data(data)
    try:
        yield
    finally:
        if data is not None:
            _named.remove(data)


def name_data(data: Path) -> None:
    """From now on commands say this data directory: for a process whose texts are read from who knows where."""
    _named.append(data)


def command(words: str, *arguments: str | Path) -> str:
    """`sq-pipeline WORDS ARGUMENTS` in backticks, each argument quoted; capitals stand for what only a person knows."""
    of_data = ("--data", _named[-1]) if _named and words in OF_DATA and "--data" not in arguments else ()
    return f"`sq-pipeline {' '.join([words, *map(_quoted, (*arguments, *of_data))])}`"


def option(of: str, *words: str) -> str:
    """An option of the command `of`, with its value."""
    del of  # for the tests: the command whose errors advise it has it
    return " ".join(map(_quoted, words))


def pass_option(*words: str) -> str:
    """`pass OPTION VALUE`, of `adapter remap`; a hint that begins so is for `remap_instead`, too."""
    return f"pass {option('adapter remap', *words)}"


def remap_instead(hint: str, file: str | Path) -> str:
    """The hint for who called another command than `adapter remap`: a whole command in place of its option."""
    found = _PASS.match(hint)
    if found is None:
        return hint
    words = ("OUT", "--target", "mflux", *shlex.split(found[1]))
    return command("adapter remap", Path(file), *words) + hint[found.end() :]


def without_place(hint: str, file: str) -> str:
    """The hint with FILE for a file, and without a data directory: for what is kept and read elsewhere."""
    hint = hint.replace(_quoted(Path(file)), "FILE")
    return hint.replace(f" --data {_quoted(_named[-1])}", "") if _named else hint


def _quoted(argument: str | Path) -> str:
    if isinstance(argument, Path) and str(argument).startswith("-"):
        argument = f"./{argument}"  # no option
    return shlex.quote(str(argument))
