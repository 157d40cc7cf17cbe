"""How the product is laid out, read from its sources without importing them: packages, layers, ports."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sq_pipeline_tests.docs.blocks import ROOT, table

PACKAGE = ROOT / "sq_pipeline"


def package_table() -> str:
    """Every package, with the first paragraph of what it says of itself."""
    folders = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
    rows = [
        (f"`{folder.relative_to(ROOT).as_posix()}/`", _first_paragraph(folder / "__init__.py")) for folder in folders
    ]
    return table(("package", "what belongs in it"), rows)


def _first_paragraph(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{file.relative_to(ROOT)} does not say what belongs in its package")
    return " ".join(text.split("\n\n")[0].split())


def layer_list() -> str:
    """The layers that import-linter holds, from the top: each may import those below it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contracts = [contract for contract in settings["contracts"] if contract["type"] == "layers"]
    if not contracts:
        raise ValueError("pyproject.toml has no contract of layers any more")
    return "\n".join(_layers(contract, is_alone=len(contracts) == 1) for contract in contracts)


def _layers(contract: dict[str, Any], *, is_alone: bool) -> str:
    names = (", ".join(f"`{name.strip()}`" for name in layer.split("|")) for layer in contract["layers"])
    head = "" if is_alone else f"{contract['name']}:\n\n"
    return head + "".join(f"{number}. {line}\n" for number, line in enumerate(names, start=1))


def port_list() -> str:
    """A section for each protocol that the product asks an engine for, which mkdocstrings fills in."""
    names = sorted(_ports())
    if not names:
        raise ValueError("no module `ports` has a protocol any more")
    return "\n".join(f"::: {name}\n" for name in names)


def _ports() -> Iterator[str]:
    for path in PACKAGE.rglob("ports.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ClassDef) and _is_port(statement):
                yield f"{module}.{statement.name}"


def _is_port(definition: ast.ClassDef) -> bool:
    is_protocol = any(ast.unparse(base) == "Protocol" for base in definition.bases)
    return is_protocol and not definition.name.startswith("_")
