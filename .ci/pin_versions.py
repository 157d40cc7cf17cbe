"""Writes the exact versions of a resolution into `pyproject.toml`, under `[tool.uv] constraint-dependencies`.

Run as `uv lock --upgrade && uv run python .ci/pin_versions.py`. `uv.lock` itself is not kept, because it
writes package indexes' addresses down; the versions alone make `uv run` resolve the same everywhere.
"""

import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_START, _END = "# pinned versions: start\n", "# pinned versions: end\n"


def read_pins(lock: Path) -> list[str]:
    """`name==version` of every package of the lock file that has just one version, without our own."""
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for package in tomllib.loads(lock.read_text())["package"]:
        if "registry" in package["source"]:
            versions[package["name"]].add(package["version"])
    # a package in two versions (one a platform or Python) is left to the ranges of those who need it
    return [f"{name}=={min(found)}" for name, found in sorted(versions.items()) if len(found) == 1]


def main() -> None:
    """Replace the block between the two marks."""
    pins = read_pins(_ROOT / "uv.lock")
    project = _ROOT / "pyproject.toml"
    block = "constraint-dependencies = [\n" + "".join(f'    "{pin}",\n' for pin in pins) + "]\n"
    pattern = re.compile(f"{re.escape(_START)}.*?{re.escape(_END)}", re.DOTALL)
    text, count = pattern.subn(f"{_START}{block}{_END}", project.read_text())
    if count != 1:
        sys.exit("pyproject.toml: the two marks of the pinned versions are not there")
    project.write_text(text)
    sys.stderr.write(f"{len(pins)} versions pinned\n")


if __name__ == "__main__":
    main()
