"""The import contracts of `pyproject.toml` check what they say: what is planted in a copy of the package is caught."""

import os
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "sq_pipeline"
# A contract, by a word of its name; what it keeps in its place; who may import that.
PROTECTED = [
    ("mlx and mflux", "mlx.core", {"engines"}),
    ("mlx and mflux", "mflux.models", {"engines"}),
    ("engines are given", f"{PACKAGE}.engines.machine", {"engines", "wiring", "cli"}),
    ("dagster stays", "dagster", {"defs", "definitions"}),
    ("dagster stays", "dagster_shared.error", {"defs", "definitions"}),
    ("opentelemetry stays", "opentelemetry.trace", {"telemetry"}),
    ("nobody imports", "torch", set[str]()),
    ("nobody imports", "safetensors.numpy", set[str]()),
    ("nobody imports", "dagster_graphql", set[str]()),
]
# Rules that know no Dagster, no engine and no file's format, and what they must not import, directly or not.
IMPURE = [
    ("common.errors", "typer"),
    ("training.recipe", "yaml"),
    ("pictures.provenance", "PIL.Image"),
    ("pipeline.inputs", "dagster"),
    ("adapters.reading", "mlx.core"),
    ("content.prompts", "tokenizers"),
    ("verification.verdicts", "skimage"),
    ("content.stacks", f"{PACKAGE}.common.strict_yaml"),
]
# From a lower to an upper room.
UPWARD = [
    ("common.text", "base_models.ports"),
    ("base_models.ports", "adapters.form"),
    ("adapters.form", "pictures.contours"),
    ("telemetry.exporters", "pictures.contours"),
    ("pictures.contours", "training.fit"),
    ("pictures.contours", "verification.verdicts"),
    ("training.fit", "settings"),
    ("verification.verdicts", "painter.canvas"),
    ("settings", "pipeline.plan"),
    ("painter.canvas", "serve.protocol"),
    ("pipeline.plan", "wiring"),
    ("serve.protocol", "wiring"),
    ("engines.machine", "wiring"),
    ("wiring", "defs.runs"),
    ("defs.runs", "cli.options"),
    # beside each other, and not to know each other
    ("training.fit", "verification.verdicts"),
    ("serve.protocol", "pipeline.plan"),
    ("pipeline.plan", "engines.machine"),
    ("adapters.form", "content.stacks"),
]
# Two imports that close a circle each, within a package and between two of them that are beside each other below one.
CIRCLES = [
    (("common.text", "common.tiers"), ("common.tiers", "common.text")),
    (("engines.flux.weights", "engines.tiny_flux.text"), ("engines.tiny_flux.text", "engines.flux.weights")),
]


class Copy:
    """A copy of the package, with its contracts, to plant imports in."""

    def __init__(self, root: Path) -> None:
        self._root = root
        shutil.copytree(ROOT / PACKAGE, root / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")

    def modules_of(self, name: str) -> list[str]:
        """The modules below `sq_pipeline.<name>`, or itself."""
        place = self._root / PACKAGE / name
        if not place.is_dir():
            return [name]
        paths = sorted(path.relative_to(self._root / PACKAGE) for path in place.rglob("*.py"))
        return [".".join(path.with_suffix("").parts) for path in paths if path.stem != "__init__"]

    def plant(self, module: str, imported: str) -> None:
        """Import something in a module, inside a function: that counts as well."""
        path = self._path(f"{PACKAGE}.{module}")
        with path.open("a") as file:
            file.write(f"\n\ndef _planted() -> None:\n    import {imported}\n")
        if imported.startswith(PACKAGE):
            self._path(imported)

    def _path(self, module: str) -> Path:
        path = self._root / f"{module.replace('.', '/')}.py"
        assert path.is_file(), f"{module}: a table of this test names a module that is not there"
        return path

    def add_room(self, name: str) -> None:
        """A package that no contract names."""
        (self._root / PACKAGE / name).mkdir()
        (self._root / PACKAGE / name / "__init__.py").touch()

    def lint(self) -> dict[str, str]:
        """What is said of each broken contract, by its name."""
        command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
        environment = {**os.environ, "PYTHONPATH": str(self._root), "COLUMNS": "500"}
        done = subprocess.run(
            command, cwd=self._root, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.endswith((" KEPT", " BROKEN"))]
        assert lines, done.stdout + done.stderr
        broken = [line.removesuffix(" BROKEN").strip() for line in lines if line.endswith(" BROKEN")]
        assert done.returncode == (1 if broken else 0)
        _, _, told = done.stdout.partition("Broken contracts")
        places = {name: told.index(f"\n{name}\n---") for name in broken}
        ends = {name: min((p for p in places.values() if p > start), default=None) for name, start in places.items()}
        return {name: told[start : ends[name]] for name, start in places.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy")


def _told(found: dict[str, str], contract: str) -> str:
    (text,) = [text for name, text in found.items() if contract in name] or [""]
    return text


def _rooms() -> list[str]:
    """What is directly in the package."""
    found = {path.stem for path in (ROOT / PACKAGE).iterdir() if path.is_dir() or path.suffix == ".py"}
    return sorted(found - {"__init__", "__pycache__", "_shipped"})


def test_an_untouched_copy_breaks_nothing(copy: Copy) -> None:
    assert copy.lint() == {}


def test_what_is_protected_is_kept_from_every_other_room(copy: Copy) -> None:
    wanted: list[tuple[str, str, str]] = []
    for contract, imported, allowed in PROTECTED:
        assert allowed < {*_rooms()}
        for room in _rooms():
            if room not in allowed:
                module = copy.modules_of(room)[0]
                copy.plant(module, imported)
                wanted.append((contract, module, imported))
    _insist_on(wanted, copy.lint())


def test_pure_rules_stay_pure(copy: Copy) -> None:
    for module, imported in IMPURE:
        copy.plant(module, imported)
    _insist_on([("pure rules", module, imported) for module, imported in IMPURE], copy.lint())


def test_no_import_runs_up_or_across(copy: Copy) -> None:
    for module, imported in UPWARD:
        copy.plant(module, f"{PACKAGE}.{imported}")
    _insist_on([("layers", module, f"{PACKAGE}.{imported}") for module, imported in UPWARD], copy.lint())


def test_a_new_room_needs_its_layer(copy: Copy) -> None:
    copy.add_room("attic")
    assert "attic" in _told(copy.lint(), "layers")


@pytest.mark.parametrize("circle", CIRCLES)
def test_a_circle_is_found_at_any_depth(copy: Copy, circle: tuple[tuple[str, str], ...]) -> None:
    for module, imported in circle:
        copy.plant(module, f"{PACKAGE}.{imported}")
    found = copy.lint()
    assert _told(found, "no circle"), found


def _insist_on(wanted: list[tuple[str, str, str]], found: dict[str, str]) -> None:
    """Each planted import is named in what is said of the contract that it breaks."""
    missed: list[str] = []
    for contract, module, imported in wanted:
        # of a package from outside only the first part is in the graph
        shown = imported if imported.startswith(PACKAGE) else imported.partition(".")[0]
        line = f"{PACKAGE}.{module} -> {shown} (l."
        if line not in _told(found, contract):
            missed.append(f"{contract}: {line}")
    assert not missed, "\n".join([*missed, *found.values()])


def test_no_module_hangs_on_itself() -> None:
    """Also where a package's own `__init__` is in the circle, which no contract looks at."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    TopologicalSorter(imports).prepare()  # raises a CycleError with the circle
