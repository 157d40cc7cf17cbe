"""README and the pages hold together with the code: commands, modules, files, tables and links are there."""

import importlib.util
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from sq_pipeline.serve.protocol import Method
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.docs.blocks import DOCS, README, ROOT, pages
from sq_pipeline_tests.docs.command_line import commands, option_names
from sq_pipeline_tests.loaders import remap_matrix

TEXTS = [README, *pages()]
_CODE = re.compile(r"^```[^\n]*\n(.*?)^```$|(?<!`)`([^`]+)`(?!`)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _code(text: str) -> Iterator[str]:
    """Every line of code of a page, in blocks and in sentences."""
    for match in _CODE.finditer(text):
        yield from (match[1] or " ".join(match[2].split())).splitlines()


every_page = pytest.mark.parametrize("page", TEXTS, ids=_name)


def test_the_readme_is_short() -> None:
    assert len(_read(README).splitlines()) <= 150


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_overview_and_in_the_reference(command: str) -> None:
    overview, reference = _read(DOCS / "reference/command-line.md").split("## Every command and option")
    assert f"| `sq-pipeline {command}" in overview
    assert f"\nsq-pipeline {command} " in reference


@every_page
def test_commands_that_a_page_tells_of_are_there(page: Path) -> None:
    known = commands()
    for line in _code(_read(page)):
        _, found, rest = line.partition("sq-pipeline ")
        if not found or "…" in rest:
            continue
        words = shlex.split(rest.partition("#")[0].replace("[", " ").replace("]", " "))
        name = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known), None)
        assert name, f"{_name(page)}: no such command: {line}"
        unknown = {word for word in words if word.startswith("--")} - option_names(known[name])
        assert not unknown, f"{_name(page)}: {name} has no {unknown}"


@every_page
def test_modules_and_files_that_a_page_names_are_there(page: Path) -> None:
    for line in _code(_read(page)):
        for module in re.findall(r"python -m (sq_pipeline[\w.]*)", line):
            assert importlib.util.find_spec(module), f"{_name(page)}: no module {module}"
        for file in re.findall(r"\b(?:sq_pipeline|sq_pipeline_tests|docs)/[\w./-]*", line):
            assert (ROOT / file).exists(), f"{_name(page)}: no {file}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_read(page)):
        file, _, anchor = target.partition("#")
        if re.match(r"https?://", target):
            continue
        path = (page.parent / file).resolve() if file else page
        assert path.is_file(), f"{_name(page)}: no {target}"
        if anchor:
            assert anchor in _anchors(_read(path)), f"{_name(page)}: no heading {target}"


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def test_the_readme_leads_to_every_part_of_the_pages() -> None:
    linked = {target for target in _LINK.findall(_read(README)) if target.startswith("docs/")}
    by_itself = {"docs/reference/code.md", "docs/index.md"}  # of the home page's own kind
    assert {_name(page) for page in pages()} - by_itself <= linked


def test_the_training_page_explains_every_field_of_the_recipe() -> None:
    text = _read(DOCS / "training.md")
    assert [name for name in Recipe.model_fields if f"`{name}`" not in text] == []


def test_the_servers_page_has_every_method() -> None:
    text = _read(DOCS / "server.md")
    assert [method for method in get_args(Method) if f"\n| `{method}` |" not in text] == []


def test_the_table_of_the_remap_has_every_loader_and_every_file() -> None:
    """The errors in it are measured by a long run; which rows and columns there are is known without one."""
    text = _read(DOCS / "adapters.md")
    head, _, *rows = re.findall(r"^\|.*\|$", text[text.index("| dialect | files |") :], re.MULTILINE)
    assert [cell.strip() for cell in head.strip("|").split("|")][3:] == list(map(str, remap_matrix.ALL))
    told = Counter(f"{case.dialect} (told)" if case.is_told else case.dialect for case in remap_matrix.cases())
    assert {row.split("|")[1].strip(): int(row.split("|")[2]) for row in rows} == told
    assert f"over {sum(told.values()):,} files" in " ".join(text.split())
