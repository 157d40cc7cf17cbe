"""YAML's traps, and the faults of `validate`.

Not here: what the files of a pack must say (`test_style_file`, `test_subject_files`).
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from sq_pipeline.common.errors import ContentError, Fault, KeymapError
from sq_pipeline.common.strict_yaml import PlusInt, load_mapping, near_miss, parse_yaml, type_name, validate


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("2.5e+2", 250.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("+5", PlusInt(5)),
        ("010", 10),  # YAML 1.1: octal, 8
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("22:00", "22:00"),  # YAML 1.1: base 60, 1320
        ("no", "no"),
        ("No", "No"),
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("", None),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("'1'", "1"),
        ('"no"', "no"),
        ("=", "="),
        ("<<", "<<"),
        ("Smith & Sons", "Smith & Sons"),
        ("Help! Help !", "Help! Help !"),
        ("Run &now !go *all", "Run &now !go *all"),  # signs of YAML inside a text
        ('"&a *a !b"', "&a *a !b"),
    ],
)
def test_a_plain_value_is_what_its_author_meant(written: str, meant: Any):
    value = parse_yaml(f"key: {written}\n", "file.yaml")["key"]
    assert value == meant
    assert type(value) is type(meant)


def test_a_merge_key_is_a_key_like_any_other():
    assert parse_yaml("<<: {a: 1}\nb: 2\n", "file.yaml") == {"<<": {"a": 1}, "b": 2}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n"])
def test_an_empty_text_is_none(text: str):
    assert parse_yaml(text, "file.yaml") is None


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is there twice (first in line 1)"),
        ("x:\n  a: 1\n  a: 1\n", 3, "'a' is there twice (first in line 2)"),
        ("x: {a: 1, a: 2}\n", 1, "'a' is there twice"),
        ("- a: 1\n- {b: 1, 'b': 2}\n", 2, "'b' is there twice"),
        ("a: 1\n2: b\n", 2, "'2' is not a text"),
        ("true: b\n", 1, "'true' is not a text"),
        ("? [a, b]\n: c\n", 1, "is not a text"),
        ("a: &x 1\nb: *x\n", 2, "uses an alias (*x)"),
        ("a: &x [1, 2]\nb:\n  - 0\n  - *x\n", 4, "uses an alias (*x)"),
        ("a: *never\n", 1, "alias"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']\n", 2, "uses a tag (!!python/object/apply:os.system)"),
        ("a: !!python/name:os.system\n", 1, "uses a tag"),
        ("a: !secret x\n", 1, "uses a tag (!secret)"),
        ("a: !!timestamp 2024-01-01\n", 1, "uses a tag (!!timestamp)"),
        ("a: !!binary aGk=\n", 1, "uses a tag (!!binary)"),
        ("a: !!set {x}\n", 1, "uses a tag (!!set)"),
        ("a: !!bool yes\n", 1, "uses a tag (!!bool)"),
        ("a: !!str 5\n", 1, "uses a tag (!!str)"),
        ("a: ! 5\n", 1, "uses a tag (!)"),
        ("a: [1,!x 2]\n", 1, "uses a tag (!x)"),
        ("!!merge <<: {a: 1}\n", 1, "uses a tag (!!merge)"),
        ("a: 1\nb: 1e999\n", 2, "1e999 is too large"),
        (f"a: {'9' * 5000}\n", 1, "is too large"),
        (f"a: {'9' * 400}\n", 1, "is too large"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, ""),
        ("a: b: c\n", 1, "a colon in a text"),
        ("a:\n\tb: 1\n", 2, "begins with a tab"),
        ("a: 1\n--- \nb: 2\n", 2, "another document begins here"),
        ("é: 1\na: \x07\n", 2, "holds the character U+0007"),
    ],
)
def test_what_is_refused_says_file_line_and_mend(text: str, line: int, part: str):
    with pytest.raises(ContentError) as caught:
        parse_yaml(text, "packs/file.yaml")
    (fault,) = caught.value.faults
    assert (fault.file, fault.field) == ("packs/file.yaml", f"line {line}")
    assert part in fault.problem
    assert fault.hint
    assert str(fault).count("packs/file.yaml") == 1


def test_a_bomb_of_aliases_is_refused_before_it_is_built():
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    with pytest.raises(ContentError, match="uses an alias"):
        parse_yaml(f"a0: &a0 lol\n{levels}\n", "file.yaml")


@pytest.mark.parametrize(("depth", "is_fine"), [(40, True), (41, False), (900, False), (50_000, False)])
def test_depth_has_a_limit(depth: int, is_fine: bool):
    text = "[" * depth + "]" * depth
    if is_fine:
        parse_yaml(text, "file.yaml")
    else:
        with pytest.raises(ContentError, match=r"deeper|nesting depth|recursion"):
            parse_yaml(text, "file.yaml")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a: caf\xe9\n", "is not UTF-8 text (byte 6)"),
        ("a: 1\n".encode("utf-16"), "is not UTF-8 text"),
        (b"- a\n- b\n", "its top level is a list, not a mapping"),
        (b"just a text\n", "its top level is a text, not a mapping"),
        (b"5\n", "its top level is a number, not a mapping"),
        (b"false\n", "its top level is true/false, not a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes, part: str):
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with pytest.raises(ContentError) as caught:
        load_mapping(path, "file.yaml")
    (fault,) = caught.value.faults
    assert part in fault.problem
    assert fault.file == "file.yaml"
    assert fault.hint


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"", {}), (b"# nothing yet\n", {}), (b"\xef\xbb\xbfa: 1\r\nb: x\r\n", {"a": 1, "b": "x"})],
)
def test_empty_files_and_windows_files_are_read(tmp_path: Path, content: bytes, value: dict[str, Any]):
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    assert load_mapping(path, "file.yaml") == value


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "history.yaml")
    with pytest.raises(ContentError, match="is no plain file"):
        load_mapping(tmp_path / "history.yaml", "history.yaml")


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path):
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:  # sparse: takes no room on the disk
        file.truncate(32 * 2**20 + 1)
    with pytest.raises(ContentError, match="is larger than 32 MiB; split it"):
        load_mapping(path, "big.yaml")


@pytest.mark.parametrize(("name", "part"), [("missing.yaml", "no such file"), (".", "cannot be read")])
def test_a_path_without_a_file_is_a_fault(tmp_path: Path, name: str, part: str):
    with pytest.raises(ContentError, match=part):
        load_mapping(tmp_path / name, name)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(value=_values)
@settings(deadline=None, max_examples=80)
def test_what_a_yaml_writer_quotes_comes_back(value: Any):
    """`default_style='"'` writes every scalar in quotes, so that all come back as texts; structure and text survive."""

    def as_texts(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: as_texts(inner) for key, inner in item.items()}
        return [as_texts(inner) for inner in item] if isinstance(item, list) else str(item)

    text = yaml.safe_dump(as_texts(value), default_style='"', allow_unicode=True)
    assert parse_yaml(text, "file.yaml") == as_texts(value)


@given(text=st.text(alphabet="abn:-[]{}!&*#'\"|> \n\t,?%@0e.~", max_size=40))
@settings(deadline=None, max_examples=150)
def test_any_text_is_a_value_or_a_content_error(text: str):
    try:
        value = parse_yaml(text, "file.yaml")
    except ContentError:
        return
    assert type_name(value) in {"a mapping", "a list", "a text", "true/false", "a number", "empty"}


class _Window(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = "22:00"


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str
    is_transposed: bool = False


class _Example(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(ge=1)
    rate: float = 0.5
    window: _Window = _Window()
    spare_window: _Window | None = None
    rules: tuple[_Rule, ...] = ()


def test_validate_gives_the_model():
    value = parse_yaml("rank: 4\nrate: 1\nwindow: {start: 21:30}\nrules: [{pattern: a, is_transposed: true}]", "f")
    model = validate(_Example, value, "f.yaml")
    assert model == _Example(
        rank=4, rate=1.0, window=_Window(start="21:30"), rules=(_Rule(pattern="a", is_transposed=True),)
    )


@pytest.mark.parametrize(
    ("text", "field", "problem", "hint"),
    [
        ("rnk: 4\nrank: 4", "rnk", "unknown key", "`rank` is there already; remove this one"),
        ("raate: 0.4\nrank: 4", "raate", "unknown key", "did you mean `rate`?"),
        ("colour: red\nrank: 4", "colour", "unknown key", "remove it"),
        ("rank: 4\nwindow: {starts: x}", "window.starts", "unknown key", "did you mean `start`?"),
        ("rank: 4\nspare_window: {starts: x}", "spare_window.starts", "unknown key", "did you mean `start`?"),
        (
            "rank: 4\nrules: [{pattern: a, is_transposd: true}]",
            "rules[0].is_transposd",
            "unknown key",
            "`is_transposed`",
        ),
        ("rate: 1.0", "rank", "is missing", "add it"),
        ("rank: 4\nrules:\n  - pattern: a\n  - {}", "rules[1].pattern", "is missing", "add it"),
        ("rank: four", "rank", "valid integer, not 'four'", "correct the value"),
        ("rank: '4'", "rank", "valid integer, not '4'", "correct the value"),
        ("rank: true", "rank", "valid integer, not True", "correct the value"),
        ("rank: 0", "rank", "greater than or equal to 1, not 0", "correct the value"),
        ("rank: 4\nrate: on", "rate", "valid number, not 'on'", "correct the value"),
        ("rank: 4\nrate: false", "rate", "valid number, not False", "correct the value"),
        ("rank: 4\nrules: [{pattern: a, is_transposed: no}]", "rules[0].is_transposed", "boolean, not 'no'", "correct"),
        ("rank: 4\nwindow: 22:00", "window", "is a text, not a mapping", "correct the value"),
        ("rank: 4\nwindow: [a]", "window", "is a list, not a mapping", "correct the value"),
        ("rank: 4\nrules: {pattern: a}", "rules", "is a mapping, not a list", "correct the value"),
        ("rank: 4\nwindow: {start: 5}", "window.start", "valid string, not 5", "correct the value"),
    ],
)
def test_validate_names_field_problem_and_mend(text: str, field: str, problem: str, hint: str):
    with pytest.raises(ContentError) as caught:
        validate(_Example, parse_yaml(text, "f.yaml"), "f.yaml")
    (fault,) = caught.value.faults
    assert (fault.file, fault.field) == ("f.yaml", field)
    assert problem in fault.problem
    assert hint in fault.hint


def test_validate_reports_all_faults_in_the_family_that_is_asked_for():
    with pytest.raises(KeymapError) as caught:
        validate(_Example, parse_yaml("rate: x\ncolour: red\nwindow: {start: 5}", "f.yaml"), "f.yaml", KeymapError)
    assert {fault.field for fault in caught.value.faults} == {"rank", "rate", "colour", "window.start"}
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("key", "guess"),
    [("positve_suffix", "positive_suffix"), ("positive_sufix", "positive_suffix"), ("title", None), ("suffix", None)],
)
def test_near_miss(key: str, guess: str | None):
    assert near_miss(key, ("positive_suffix", "negative_prompt")) == guess


def test_a_fault_reads_as_one_line():
    assert str(Fault("a.yaml", "b[0].c", "is missing", "add it")) == "a.yaml: b[0].c: is missing; add it"
