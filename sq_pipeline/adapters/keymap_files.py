"""Reading keymaps from YAML and choosing the one for a target and a loader's version, or for a family."""

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sq_pipeline.adapters.keymap import FamilyKeymap, Keymap
from sq_pipeline.adapters.keymap_checks import check_keymap
from sq_pipeline.base_models.base_models import Family
from sq_pipeline.common.errors import Fault, KeymapError, SqPipelineError
from sq_pipeline.common.layout import shipped_data_root
from sq_pipeline.common.strict_yaml import load_mapping, parse_mapping, read_text, validate

# raised when a name in `family_keymaps` comes to mean another layer
NAMES_REVISION = 1


@cache
def family_keymap(family: Family) -> FamilyKeymap:
    """The keymap that reads adapters of another family than FLUX.1. It is the package's: no data directory has one."""
    path = Path(__file__).with_name("family_keymaps") / f"{family}.yaml"
    return validate(FamilyKeymap, load_mapping(path, path.name), path.name, KeymapError)


def load_keymap(path: Path, file: str | None = None) -> Keymap:
    """A checked keymap; raises KeymapError (or ContentError, when it is not YAML) with every fault."""
    name = file or str(path)
    return _keymap_of(read_text(path, name), name)


_MOST_KEPT = 64  # texts; a folder has some twenty


@lru_cache(_MOST_KEPT)
def _mapping_of(text: str, name: str) -> Mapping[str, Any]:
    return parse_mapping(text, name)


@lru_cache(_MOST_KEPT)
def _keymap_of(text: str, name: str) -> Keymap:
    keymap = validate(Keymap, _mapping_of(text, name), name, KeymapError)
    try:
        SpecifierSet(keymap.loader_versions)
    except InvalidSpecifier:
        fault = Fault(name, "loader_versions", f"{keymap.loader_versions!r} is no version range", 'write e.g. ">=0.19"')
        raise KeymapError(fault) from None
    check_keymap(keymap, name)
    return keymap


def select_keymap(keymaps_root: Path, target: str, loader_version: str | None = None) -> Keymap:
    """The one keymap in a folder that writes `target` and fits the loader's version.

    Raises KeymapError when none fits, or more than one, with the reason. A broken keymap for another target is
    no hindrance.
    """
    place = keymaps_root.name
    try:
        version = None if loader_version is None else Version(loader_version)
    except InvalidVersion:
        fault = Fault(place, "", f"{target} has no version to choose a keymap by ({loader_version})", "install it")
        raise KeymapError(fault) from None
    candidates, faults = _candidates(keymaps_root, source="mlx", target=target)
    fitting = [
        keymap
        for keymap in candidates
        if version is None or version in SpecifierSet(keymap.loader_versions, prereleases=True)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(keymap.name for keymap in fitting)
        raise KeymapError(
            Fault(place, "", f"several keymaps are for {target}: {names}", "narrow their loader_versions")
        )
    if candidates:
        ranges = ", ".join(_range_of(keymap) for keymap in candidates)
        problem = f"no keymap for {target} {loader_version} ({ranges})"
        raise KeymapError([Fault(place, "", problem, "install a version in range, or add a keymap"), *faults])
    raise KeymapError([Fault(place, "", f"no keymap for {target}", "add one, or choose another target"), *faults])


def choose_keymap(keymaps_root: Path, target: str, loader_version: str | None, file: Path | None) -> Keymap:
    """The keymap in `file`, if it writes `target` and is for this version; the one of the folder without a file."""
    if file is None:
        return select_keymap(keymaps_root, target, loader_version)
    keymap = load_keymap(file)
    if keymap.target != target or keymap.source != "mlx":
        problem = f"is from {keymap.source} to {keymap.target}, and {target} is wanted"
        raise KeymapError(Fault(str(file), "target", problem, "choose a keymap from mlx to the target"))
    insist_on_range(keymap, loader_version)
    return keymap


def select_reading_keymap(keymaps_root: Path, dialect: str) -> Keymap:
    """The one keymap in a folder that reads `dialect`, the shipped one where the folder has none.

    Raises KeymapError when there are two, or none that is sound.
    """
    place = keymaps_root.name
    candidates, faults = _candidates(keymaps_root, source=dialect, target="mlx")
    if not candidates and not faults:
        # a data directory of the time before this dialect was known
        candidates, faults = _candidates(shipped_data_root() / "keymaps", source=dialect, target="mlx")
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(keymap.name for keymap in candidates)
        raise KeymapError(Fault(place, "", f"several keymaps read {dialect}: {names}", "leave one of them"))
    raise KeymapError([Fault(place, "", f"no keymap reads {dialect}", "correct or add one"), *faults])


def insist_on_range(keymap: Keymap, loader_version: str | None) -> None:
    """Raise KeymapError, with the reason, when a keymap is not for this version of its loader."""
    if loader_version is None or not keymap.loader_versions:
        return
    try:
        fits = Version(loader_version) in SpecifierSet(keymap.loader_versions, prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        problem = f"{_range_of(keymap)}, not for {loader_version}"
        reason = f": {keymap.otherwise}" if keymap.otherwise else ""
        raise KeymapError(Fault(keymap.name, "", problem + reason, "leave the choice of the keymap to the version"))


def _range_of(keymap: Keymap) -> str:
    return f"{keymap.name} is for {keymap.loader}{keymap.loader_versions}"


def _candidates(keymaps_root: Path, source: str, target: str) -> tuple[list[Keymap], list[Fault]]:
    """Every sound keymap from `source` to `target` in a folder, and what is wrong with the broken ones."""
    candidates: list[Keymap] = []
    faults: list[Fault] = []
    for path in sorted(keymaps_root.glob("*.yaml")):
        name = f"{keymaps_root.name}/{path.name}"
        try:
            text = read_text(path, name)
            mapping = _mapping_of(text, name)
            # the other keymaps are not looked at any closer: checking all of them takes a third of a second
            if {"source", "target"} <= mapping.keys() and (mapping["source"], mapping["target"]) != (source, target):
                continue
            candidates.append(_keymap_of(text, name))
        except SqPipelineError as error:
            faults.extend(error.faults)
    return [keymap for keymap in candidates if (keymap.source, keymap.target) == (source, target)], faults
