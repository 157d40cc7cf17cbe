"""The user's checkout of mlx-examples: where it is, whether it can run, and a hash of what it runs.

All of that is read from files, and nothing is run for it: a data directory of somebody else's may name any program.
Not here: running it (`mlx_examples.trainer`), what is installed beside a Python (`mlx_examples.installed`).
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sq_pipeline.common.errors import ContentError, Fault, SqPipelineError, TrainingError
from sq_pipeline.common.fingerprints import fingerprint, hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.allowed_programs import Program, not_allowed
from sq_pipeline.engines.trainers.mlx_examples.installed import (
    missing_modules,
    packages_of,
    startup_files,
    version_of,
)
from sq_pipeline.settings import load_settings, written_path

NAME = "mlx-examples"
# Raise it when the same request would give other bytes.
_REVISION = "1"
_FIELD = "mlx_examples"
_SCRIPT = "dreambooth.py"
# what its FLUX.1 example imports; `datasets` is only for data sets of the Hugging Face hub
_NEEDED = ("mlx", "huggingface_hub", "numpy", "PIL", "regex", "sentencepiece", "tqdm")
# what Python can import beside a script
_IMPORTED = (".py", ".pyc", ".so", ".dylib")


@dataclass(frozen=True)
class MlxExamplesCheckout:
    """A checkout that can run. `folder` has `dreambooth.py` in it; `python` is run as it is written (it may be a link
    into a virtual environment)."""

    folder: Path
    python: Path
    mlx_version: str

    @property
    def script(self) -> Path:
        """`flux/dreambooth.py`."""
        return self.folder / _SCRIPT

    def sources_hash(self) -> str:
        """`sha256:…` over the Python files that a training runs, by name: an edited checkout is another trainer.

        The commit would not tell of edits, and changes with files of other examples.
        """
        files = [self.script, *(self.folder / "flux").rglob("*.py")]
        return fingerprint(
            {path.relative_to(self.folder).as_posix(): hash_file(path) for path in sorted(files) if path.is_file()}
        )

    def program(self) -> Program:
        """What a training runs, to the last file that decides what happens: the Python, what it starts with, and all
        that can be imported beside the script. Not the packages that are installed there.
        """
        files = [self.python, *startup_files(self.python)]
        files += (
            path for path in self.folder.rglob("*") if path.suffix in _IMPORTED and "__pycache__" not in path.parts
        )
        hashes = {str(path): hash_file(path) for path in dict.fromkeys(files) if path.is_file()}
        return Program((str(self.python), str(self.script)), hashes)

    def versions(self) -> dict[str, str]:
        """What of this trainer enters fingerprints."""
        return {"name": NAME, "revision": _REVISION, "mlx": self.mlx_version, "sources": self.sources_hash()}


def open_checkout(data: DataDir) -> MlxExamplesCheckout:
    """The checkout that `sq.yaml` names. Raises TrainingError (ContentError for a broken `sq.yaml`), all faults at
    once."""
    file = data.relative(data.settings_file)
    settings = load_settings(data).mlx_examples
    if settings is None:
        problem = "is missing, and `trainer: mlx-examples` needs it"
        raise TrainingError(Fault(file, f"{_FIELD}.checkout", problem, "name your checkout of ml-explore/mlx-examples"))
    faults: list[Fault] = []
    folder, python, mlx_version = Path(), Path(sys.executable), ""
    try:
        folder = _folder_of(written_path(data, settings.checkout, f"{_FIELD}.checkout"), file)
    except SqPipelineError as error:
        faults += error.faults
    try:
        if settings.python is not None:
            python = written_path(data, settings.python, f"{_FIELD}.python")
        mlx_version = _mlx_version(python, file, folder)
    except SqPipelineError as error:
        faults += error.faults
    if faults:
        raise TrainingError(faults)
    return MlxExamplesCheckout(folder, python, mlx_version)


def _folder_of(checkout: Path, file: str) -> Path:
    field = f"{_FIELD}.checkout"
    if not checkout.is_dir():
        hint = "correct the path, or run `git clone https://github.com/ml-explore/mlx-examples` there"
        raise ContentError(Fault(file, field, f"there is no folder {checkout}", hint))
    folder = checkout / "flux"
    missing = [name for name in (_SCRIPT, "flux/__init__.py") if not (folder / name).is_file()]
    if missing:
        problem = f"{checkout} is no checkout of mlx-examples: it has no flux/{missing[0]}"
        raise ContentError(Fault(file, field, problem, "name the folder that has flux/dreambooth.py in it"))
    return folder


def _mlx_version(python: Path, file: str, folder: Path) -> str:
    """The version of mlx that this Python has; raises TrainingError where it cannot run mlx-examples."""
    field = f"{_FIELD}.python"
    if not python.is_file() or not os.access(python, os.X_OK):
        why = "is not allowed to be run" if python.exists() else "is not there"
        raise TrainingError(Fault(file, field, f"{python} {why}", "name a Python that has mlx"))
    folders = packages_of(python)
    if not folders:
        problem = f"what is installed beside {python} cannot be told without running it"
        hint = "name the bin/python of a virtual environment (`python -m venv`)"
        raise TrainingError(Fault(file, field, problem, hint))
    version = version_of("mlx", folders)
    missing = missing_modules(_NEEDED, folders)
    if missing or version is None:
        problem = f"{python} has no {', '.join(missing or ['mlx'])}"
        hint = f"run `{python} -m pip install -r {folder / 'requirements.txt'}`, or name another Python"
        raise TrainingError(Fault(file, field, problem, hint))
    return version


def program_faults(checkout: MlxExamplesCheckout, data: DataDir) -> Iterator[Fault]:
    """What stands against running the checkout: that nobody on this machine allowed it, as it is now."""
    yield from not_allowed(checkout.program(), data, _FIELD)
