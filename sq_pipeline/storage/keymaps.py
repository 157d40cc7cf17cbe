"""Reading keymaps from YAML and choosing the one for a target and a loader's version."""

from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sq_pipeline.core.errors import Fault, KeymapError, SqPipelineError
from sq_pipeline.core.keymap import Keymap, check_keymap
from sq_pipeline.storage.strict_yaml import load_mapping, validate


def load_keymap(path: Path, file: str | None = None) -> Keymap:
    """A checked keymap; raises KeymapError (or ContentError, when it is not YAML) with every fault."""
    name = file or str(path)
    keymap = validate(Keymap, load_mapping(path, name), name, KeymapError)
    try:
        SpecifierSet(keymap.loader_versions)
    except InvalidSpecifier:
        fault = Fault(name, "loader_versions", f"{keymap.loader_versions!r} is no version range", 'write e.g. ">=0.19"')
        raise KeymapError(fault) from None
    check_keymap(keymap, name)
    return keymap


def select_keymap(keymaps_root: Path, target: str, loader_version: str | None = None) -> Keymap:
    """The one keymap in a folder for `target` that fits the loader's version.

    Raises KeymapError when none fits, or more than one, with the reason. A broken keymap for another target is
    no hindrance.
    """
    place = keymaps_root.name
    try:
        version = None if loader_version is None else Version(loader_version)
    except InvalidVersion:
        fault = Fault(place, "", f"{target} has no version to choose a keymap by ({loader_version})", "install it")
        raise KeymapError(fault) from None
    candidates: list[Keymap] = []
    faults: list[Fault] = []
    for path in sorted(keymaps_root.glob("*.yaml")):
        name = f"{keymaps_root.name}/{path.name}"
        try:
            keymap = load_keymap(path, name)
        except SqPipelineError as error:
            faults.extend(error.faults)
            continue
        if keymap.target == target:
            candidates.append(keymap)
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
        ranges = ", ".join(f"{keymap.name} is for {keymap.loader}{keymap.loader_versions}" for keymap in candidates)
        problem = f"no keymap for {target} {loader_version} ({ranges})"
        raise KeymapError([Fault(place, "", problem, "install a version in range, or add a keymap"), *faults])
    raise KeymapError([Fault(place, "", f"no keymap for {target}", "add one, or choose another target"), *faults])
