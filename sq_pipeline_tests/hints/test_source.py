"""What the source's hints name, there is: commands, options and keys. And nobody writes one past `common.hints`."""

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

import sq_pipeline.wiring  # noqa: F401 - so that all models are there
from sq_pipeline.common import hints
from sq_pipeline.common.errors import SqPipelineError
from sq_pipeline.common.hints import command, data_named, option, pass_option, remap_instead, without_place
from sq_pipeline.common.strict_yaml import validate
from sq_pipeline.settings import Settings
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.docs.command_line import commands, option_names
from sq_pipeline_tests.hints.parsing import commands_in, parse, parse_option
from sq_pipeline_tests.hints.source import (
    CONSTRUCTORS,
    HOLE,
    ROOT,
    Module,
    call_name,
    modules,
    templates,
    words_of,
)

_OURS = re.compile(
    rf"sq-pipeline (?:{'|'.join({name.split()[0] for name in commands()})})\b|`(?:adapter|dataset) [a-z]+"
)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# texts that name a command or an option and are no hint
_NO_HINT = {
    "adapters/inspect/inspect.py": "what `adapter remap` cannot hold, in the words of a report",
    "adapters/source.py": "what `adapter remap` cannot hold, beside a hint",
    "adapters/strip_names.py": "the place of a fault, with the value that was given",
    "cli/doctor_command.py": "`--data`, as a place where to name a data directory",
    "cli/terminal/examples.py": "the examples at the end of each `--help`; a test parses each",
    "training/checkpoint_choices.py": "who wrote the file, in its head",
}
_YAML_KEY = re.compile(r"`([a-z_]+)(?::[^`]*)?`")
_LINE = re.compile(r"`([a-z_]+): ([^`…]+)`")
# in backticks, and no key of a file of ours: what a text says as an example
_NO_KEY = {"key", "lora", "type", "solo", "loras", "djxl"}
_FILES: dict[str, type[BaseModel]] = {"sq.yaml": Settings, "lora.yaml": Recipe}


def _literals(module: Module) -> Iterator[str]:
    """Texts of the code: no docstring, no declaration of an option, no argument of a constructor."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        around: ast.AST | None = module.parents[node]
        if isinstance(around, ast.Expr):
            continue
        while around is not None and not isinstance(around, ast.stmt):
            if isinstance(around, ast.Call) and call_name(around) in (*CONSTRUCTORS, "Option", "Typer"):
                break
            around = module.parents.get(around)
        if not isinstance(around, ast.Call):
            yield node.value


def _names_ours(text: str, known: set[str]) -> bool:
    if _OURS.search(text):
        return True
    return _OPTION.fullmatch(text) is None and not known.isdisjoint(_OPTION.findall(text))


def test_no_text_names_a_command_or_an_option_of_ours_but_through_the_constructors() -> None:
    """A text of another kind is registered by its module; none is registered in vain."""
    known = set[str]().union(*(option_names(one) for one in commands().values()))
    found = {
        (module.file, text)
        for module in modules()
        if module.file != "common/hints.py"
        for text in _literals(module)
        if _names_ours(text, known)
    }
    assert {(file, text) for file, text in found if file not in _NO_HINT} == set()
    assert {file for file, _ in found} == _NO_HINT.keys()
    assert found & {(one.file, one.text) for one in templates()} == set()


def _calls(name: str) -> list[tuple[str, list[str]]]:
    calls = [
        (module.file, list(words))
        for module in modules()
        if module.file != "common/hints.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and call_name(node) == name and isinstance(node.func, ast.Name)
        for words in itertools.product(*words_of(module, node))
    ]
    return sorted(calls, key=str)


@pytest.mark.parametrize(("file", "words"), [pytest.param(*one, id=" ".join(one[1])) for one in _calls("command")])
def test_each_command_of_a_hint_is_understood_by_the_real_command_line(file: str, words: list[str]) -> None:
    del file
    numbers = [one if before != "--from" else "1" for before, one in itertools.pairwise(words)]
    (found,) = commands_in(command(words[0], *numbers))
    assert parse(found) is not None


@pytest.mark.parametrize(
    ("file", "words"),
    [pytest.param(*one, id=" ".join(one[1])) for one in _calls("option")]
    + [pytest.param(f, ["adapter remap", *w], id=" ".join(w)) for f, w in _calls("pass_option")],
)
def test_each_option_of_a_hint_is_one_of_its_command_and_takes_the_value(file: str, words: list[str]) -> None:
    del file
    of, *given = words
    given = ["zero" if of == "adapter remap" and word == HOLE and "--allow" in given else word for word in given]
    assert parse_option(of, given) is not None


def test_constructors_are_called_wherever_the_tests_look() -> None:
    assert len(_calls("command")) > 20
    assert {words[0] for _, words in _calls("command")} <= commands().keys()
    assert len(_calls("pass_option")) > 8


def test_an_option_as_the_place_of_a_fault_is_one() -> None:
    known = set().union(*(option_names(one) for one in commands().values()))
    found = {
        words[0]
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and call_name(node) == "Fault" and len(node.args) == 4
        for field in words_of(module, node)[1]
        if (words := re.findall(r"^--[a-z-]+", field))
    }
    assert len(found) > 5
    assert found <= known


def test_commands_that_take_a_data_directory_are_known() -> None:
    assert {name for name, one in commands().items() if "--data" in option_names(one)} == hints.OF_DATA


def _models() -> set[type[BaseModel]]:
    def below(one: type[BaseModel]) -> set[type[BaseModel]]:
        return {one}.union(*map(below, one.__subclasses__()))

    return {one for one in below(BaseModel) if one.__module__.startswith("sq_pipeline.")}


def test_each_key_of_a_hint_is_a_key_of_a_file_of_ours() -> None:
    keys = {key for one in _models() for key in one.model_fields}
    keys |= {info.alias for one in _models() for info in one.model_fields.values() if info.alias}
    found = {(one.file, key) for one in templates() for key in _YAML_KEY.findall(one.text)}
    assert len(found) > 20
    assert {(file, key) for file, key in found if key not in keys | _NO_KEY} == set()


def _faulty_keys(model: type[BaseModel], given: object, file: str) -> set[str]:
    try:
        validate(model, given, file)
    except SqPipelineError as error:
        return {fault.field for fault in error.faults}
    return set()


def test_each_line_of_a_hint_is_read_without_a_fault_of_its_key() -> None:
    """`trainer: mlx` and the like, in the file that the hint names or its package has."""
    seen = 0
    for one in templates():
        for key, value in _LINE.findall(one.text):
            named = [file for file in _FILES if file in one.text]
            file = named[0] if named else "lora.yaml" if key in Recipe.model_fields else ""
            if not file:
                continue
            seen += 1
            model = _FILES[file]
            assert key in model.model_fields, one
            text = f"{key}: {value}"
            assert key not in _faulty_keys(model, yaml.safe_load(text), file), one
    assert seen > 8


def test_each_key_with_its_file_is_of_that_file() -> None:
    found = [
        (key, file, one)
        for one in templates()
        for key, file in re.findall(
            r"`([a-z_]+)(?::[^`]*)?`(?: it)?(?: \([^)]*\))? (?:in|of) (sq\.yaml|lora\.yaml)", one.text
        )
    ]
    assert len(found) > 4
    assert [(key, file) for key, file, _ in found if key not in _FILES[file].model_fields] == []


# -- the constructors ------------------------------------------------------------------------------------------------

ODD = ("plain", "two words", "it's", 'say "so"', "a`b", "new\nline", "$HOME", "*", "龙门 ñ", "-dash", "a;b", "\\", "~")


@pytest.mark.parametrize("name", ODD)
def test_a_path_of_any_name_comes_back_whole_from_a_command(name: str) -> None:
    (found,) = commands_in(f"do `this`: {command('dataset import', Path(name), Path('a/b'))} copies it, or `that`")
    values = parse(found)
    assert (values["source"], values["out"]) == (Path(name), Path("a/b"))


@pytest.mark.parametrize("name", ODD)
def test_an_option_with_any_value_becomes_a_command_for_another(name: str) -> None:
    hint = f"{pass_option('--strip', name)} to read it without"
    changed = remap_instead(hint, "my file.safetensors")
    assert changed.endswith("` to read it without")
    (found,) = commands_in(changed)
    values = parse(found)
    assert (values["source"], values["strip"], values["target"]) == (Path("my file.safetensors"), name, "mflux")


@pytest.mark.parametrize("data", [Path("game"), Path("my game"), Path("/abs/d'or")])
def test_a_command_names_the_data_directory_as_the_person_did(data: Path) -> None:
    with data_named(data):
        (run,) = commands_in(command("run"))
        assert parse(run)["data"] == data
        (inspect,) = commands_in(command("adapter inspect", Path("a")))
        assert inspect == ["adapter", "inspect", "a"]
        (plan,) = commands_in(command("plan", "--data", Path("other")))
        assert parse(plan)["data"] == Path("other")
        kept = without_place(
            command("adapter remap", Path("/my game/a.safetensors"), "OUT", "--target", "mflux"),
            "/my game/a.safetensors",
        )
        assert kept == "`sq-pipeline adapter remap FILE OUT --target mflux`"
    assert command("run") == "`sq-pipeline run`"


def test_an_option_says_its_words_only() -> None:
    assert option("ui", "--port", "N") == "--port N"
    assert ROOT.name == "sq_pipeline"
    assert sys.modules["sq_pipeline.common.hints"] is hints
