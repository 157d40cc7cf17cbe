"""Published wheels, unpacked beside the repository's other throw-away files and kept there.

Where: `.tmp/wheels/<name>-<version>` under the repository, or under the folder that SQ_TEST_WHEELS names.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from sq_pipeline_tests.loaders.outcomes import NotRun

_TIMEOUT_S = 180


def wheel_folder(name: str, version: str) -> Path | NotRun:
    """The folder that holds an unpacked wheel (without its dependencies), fetched on first use.

    By uv (UV names it, and then nothing else is tried), or by pip.
    """
    default = Path(__file__).resolve().parents[2] / ".tmp" / "wheels"
    folder = Path(os.environ.get("SQ_TEST_WHEELS") or default) / f"{name}-{version}"
    if folder.is_dir():
        return folder
    return _fetch(folder, f"{name}=={version}", os.environ.get("UV"), os.environ.get("PATH"))


@functools.lru_cache  # a refusal costs seconds, and there are many cells to ask
def _fetch(folder: Path, requirement: str, named_uv: str | None, _path: str | None) -> Path | NotRun:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        unpacked = Path(place) / "unpacked"
        problem = _install(requirement, unpacked, named_uv)
        if problem:
            return NotRun(f"{requirement} cannot be had: {problem}")
        try:
            unpacked.rename(folder)  # whole or not at all
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    return folder


def _install(requirement: str, target: Path, named_uv: str | None) -> str:
    """Unpack the wheel into `target`; what went wrong, or nothing."""
    uv = named_uv or shutil.which("uv")
    if uv:
        # --no-config: this project's own pins are for one mflux alone
        options = ["pip", "install", "--quiet", "--no-config", "--no-deps", "--python", sys.executable]
        options += ["--target", str(target)]
        problem = _run([uv, *options, requirement])
        if not problem or named_uv:
            return problem
    with tempfile.TemporaryDirectory(dir=target.parent) as downloads:
        options = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", downloads]
        problem = _run([sys.executable, "-m", "pip", *options, requirement])
        if problem and (pip := shutil.which("pip")):
            problem = _run([pip, *options, requirement])
        if not problem:
            (wheel,) = Path(downloads).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    return problem


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error).splitlines()[0]
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return " ".join(lines[-2:]) or f"{Path(command[0]).name} failed"
