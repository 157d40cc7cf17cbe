"""No room of the house grows too large to be looked through: modules in a folder, lines in a module."""

from pathlib import Path

import pytest

import sq_pipeline

PACKAGE = Path(sq_pipeline.__file__).parent
MODULES_MAX, LINES_MAX = 20, 400


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in PACKAGE.rglob("*.py")}), ids=lambda path: path.relative_to(PACKAGE).name
)
def test_a_folder_is_looked_through_at_a_glance(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MODULES_MAX, sorted(modules)


def test_no_module_is_long() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert len(lengths) > 200
    assert {name: count for name, count in lengths.items() if count > LINES_MAX} == {}
