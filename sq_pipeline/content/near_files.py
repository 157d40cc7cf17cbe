"""Files beside ours that look as if they should have been read: another ending, another case, another name.

Not here: keys that are not read (`pack_parts`).
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from sq_pipeline.common.errors import Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.strict_yaml import near_miss

# The names that are read, each with what else people call such a file.
_ALSO = {
    "history": {"histories", "places", "pois", "points_of_interest"},
    "portrait_manifest": {"portraits", "portrait", "characters", "people", "portraits_manifest"},
    "creatures": {"creature", "creature_manifest", "monsters", "beasts"},
    "bestiary": {"bestiaries"},
    "scene_manifest": {"scenes", "scene", "scenes_manifest"},
    "visual_style": {"style", "styles", "visual_styles", "visualstyle"},
}
_SUFFIXES = (".yaml", ".yml", ".json")
_LEFT = re.compile(
    r"(?:\.(?:txt|bak|backup|old|orig)|~)+$", re.IGNORECASE
)  # what editors and backups put behind a name
_COPY = re.compile(
    r"[ _]?(?:\(\d+\)|-? ?copy(?: ?\(?\d+\)?)?)$", re.IGNORECASE
)  # what a second file of a name is called
OURS = frozenset(f"{stem}.yaml" for stem in _ALSO)
_NOT_READ = {"cultures": "cultures are files of their own in cultures/"}


def look_beside(
    data: DataDir, folder: Path, ignored: Collection[str], *, is_world: bool
) -> tuple[list[Fault], list[Fault]]:
    """Faults (two files of one name) and warnings (files that are not read, and should be) of a genre or a world."""
    faults: list[Fault] = []
    warnings: list[Fault] = []
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in ignored)
    except OSError:
        return faults, warnings
    for name in names:
        meant = _meant(name)
        file = data.relative(folder / name)
        if meant is None:
            stem, _, suffix = name.lower().rpartition(".")
            if f".{suffix}" in _SUFFIXES and stem in _NOT_READ:
                warnings.append(Fault(file, "", "is not read", _NOT_READ[stem]))
        elif meant in names and _LEFT.search(name):
            continue  # an older state of what is read
        elif meant not in names:
            warnings.append(Fault(file, "", f"is not read; {meant} is", f"rename it to {meant}"))
        elif _plain(name) == meant.removesuffix(".yaml"):
            faults.append(Fault(file, "", f"stands beside {meant}, which is read", "make one file of both"))
        else:
            warnings.append(Fault(file, "", f"is not read; {meant} is", f"move what it says into {meant}"))
    warnings += _empty(data, folder, names)
    if is_world and not OURS & set(names) and not any(_meant(name) for name in names):
        warnings += (
            Fault(data.relative(folder), "", f"holds no file that is read; {found} looks like one", "move it up")
            for found in _further_down(folder)
        )
    return faults, warnings


def _empty(data: DataDir, folder: Path, names: Collection[str]) -> Iterator[Fault]:
    for name in sorted((OURS - {"visual_style.yaml"}) & set(names)):
        if not (folder / name).stat().st_size:
            hint = "get what it said back, or remove it"
            yield Fault(data.relative(folder / name), "", "has 0 bytes, and is read as saying nothing", hint)


def look_at_settings(data: DataDir) -> Iterator[Fault]:
    """A warning for each file of the data directory that is meant for its settings, and is not read."""
    ours = data.settings_file
    for path in sorted(data.root.glob("[sS][qQ].*")):
        stem, dot, suffix = _LEFT.sub("", path.name).lower().rpartition(".")
        if path == ours or stem != "sq" or dot + suffix not in _SUFFIXES or not path.is_file():
            continue
        if not ours.exists():
            yield Fault(data.relative(path), "", f"is not read; {ours.name} is", f"rename it to {ours.name}")
        elif not path.samefile(ours) and not _LEFT.search(path.name):
            yield Fault(data.relative(path), "", f"is not read; {ours.name} is", f"move what it says into {ours.name}")


def _plain(name: str) -> str:
    return Path(name).stem.lower().replace("-", "_").replace(" ", "_")


def _meant(name: str) -> str | None:
    """The name of ours that is meant by another one; None for ours, and for anything else."""
    said = _LEFT.sub("", name)
    if name in OURS or name.startswith(".") or Path(said).suffix.lower() not in _SUFFIXES:
        return None
    stem = _plain(_COPY.sub("", Path(said).stem) + ".yaml")
    found = next((ours for ours, others in _ALSO.items() if stem == ours or stem in others), None)
    found = found or near_miss(stem, _ALSO)
    return f"{found}.yaml" if found else None


def _further_down(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*/*.yaml")):
        if path.name in OURS:
            yield path.relative_to(folder).as_posix()
