"""What is installed beside a Python, told by its files: the other Python is never run for it.

As its `site` module would look: https://docs.python.org/3/library/site.html. Not here: what of it is needed.
"""

import importlib.metadata
import os
import re
import site
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from sq_pipeline.common.plain_file import read_plain_text

_SYSTEM = Path("/usr")
_STARTUP = ("sitecustomize.py", "usercustomize.py")


def packages_of(python: Path) -> tuple[Path, ...]:
    """The folders from which this Python imports packages, in its order; empty where its files do not tell.

    `python` as it is written: a link into a virtual environment means that environment.
    """
    if python == Path(sys.executable):
        return tuple(Path(folder) for folder in sys.path if folder)
    given = (Path(text) for text in os.environ.get("PYTHONPATH", "").split(os.pathsep) if text)
    folders = [folder for folder in _site_folders(python) if folder.is_dir()]
    return tuple(dict.fromkeys([*given, *folders, *(more for folder in folders for more in _named_in(folder))]))


def version_of(package: str, folders: tuple[Path, ...]) -> str | None:
    """The version of an installed package; None where it is not there."""
    paths = list(map(str, folders))
    found = next(iter(importlib.metadata.distributions(name=package, path=paths)), None)
    return None if found is None else found.version


def missing_modules(names: tuple[str, ...], folders: tuple[Path, ...]) -> list[str]:
    """Those of the modules that could not be imported from there."""
    paths = list(map(str, folders))
    return [name for name in names if PathFinder.find_spec(name, paths) is None]


def startup_files(python: Path) -> Iterator[Path]:
    """The files that decide what this Python does before it reads a script."""
    yield from (place for place in _configurations(python) if place.is_file())
    is_ours = python == Path(sys.executable)
    for folder in map(Path, site.getsitepackages()) if is_ours else packages_of(python):
        yield from sorted(folder.glob("*.pth"))
        yield from (folder / name for name in _STARTUP if (folder / name).is_file())


def _configurations(python: Path) -> tuple[Path, Path]:
    return python.parent / "pyvenv.cfg", python.parent.parent / "pyvenv.cfg"


def _site_folders(python: Path) -> Iterator[Path]:
    configuration = next((place for place in _configurations(python) if place.is_file()), None)
    if configuration is None:
        real = python.resolve()
        yield from _global_folders(real.parent.parent, _version_in_name(real.name))
        return
    told = _read_configuration(configuration)
    version = ".".join((told.get("version_info") or told.get("version") or "").split(".")[:2])
    yield from _global_folders(configuration.parent, version)
    if told.get("include-system-site-packages", "").lower() == "true" and (home := told.get("home")):
        yield from _global_folders(Path(home).resolve().parent, version)


def _global_folders(prefix: Path, version: str) -> Iterator[Path]:
    version = version or _only_version(prefix)
    if not version:
        return
    for lib in ("lib", "lib64"):
        yield prefix / lib / f"python{version}" / "site-packages"
    if prefix == _SYSTEM:  # Debian's
        yield prefix / "local/lib" / f"python{version}" / "dist-packages"
        yield prefix / "lib/python3/dist-packages"
    if not (prefix / "pyvenv.cfg").is_file():
        home = Path(os.environ.get("HOME", "/"))
        yield home / ".local/lib" / f"python{version}" / "site-packages"
        yield home / "Library/Python" / version / "lib/python/site-packages"


def _version_in_name(name: str) -> str:
    found = re.fullmatch(r"python(3\.\d+)", name)
    return found[1] if found else ""


def _only_version(prefix: Path) -> str:
    """Of the one standard library, or the one folder of packages, that is there; otherwise nobody can tell."""
    versions = {_version_in_name(folder.name) for folder in prefix.glob("lib/python3.*") if folder.is_dir()}
    return versions.pop() if len(versions) == 1 else ""


def _read_configuration(path: Path) -> dict[str, str]:
    lines = read_plain_text(path, errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _named_in(folder: Path) -> Iterator[Path]:
    """Folders that are added by `.pth` files. Their `import` lines are programs, and are not looked at."""
    for path in sorted(folder.glob("*.pth")):
        try:
            lines = read_plain_text(path, errors="replace").splitlines()
        except OSError:  # a pipe, a folder: Python takes nothing from it either
            continue
        for line in lines:
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                yield folder / line.strip()
