"""The user's checkout of mlx-examples: where it is, whether it can run, and a hash of what it runs.

Not here: running it (`mlx_examples.trainer`).
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.common.errors import ContentError, Fault, SqPipelineError, TrainingError
from sq_pipeline.common.fingerprints import fingerprint, hash_file
from sq_pipeline.common.layout import DataDir
from sq_pipeline.settings import load_settings, written_path

NAME = "mlx-examples"
# Raise it when the same request would give other bytes.
_REVISION = "1"
_FIELD = "mlx_examples"
_SCRIPT = "dreambooth.py"
# what its FLUX.1 example imports; `datasets` is only for data sets of the Hugging Face hub
_NEEDED = ("mlx", "huggingface_hub", "numpy", "PIL", "regex", "sentencepiece", "tqdm")
# told by the other Python itself: which of its packages are missing, mlx's version, and where mlx is installed
_PROBE = """
import importlib.metadata, importlib.util, json, sys
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
mlx = None if "mlx" in missing else importlib.metadata.distribution("mlx")
told = {"version": mlx.version, "place": str(mlx.locate_file(""))} if mlx else {}
print(json.dumps({"missing": missing, **told}))
"""
_PROBE_LIMIT_S = 60


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
        return fingerprint({path.relative_to(self.folder).as_posix(): hash_file(path) for path in sorted(files)})

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
    try:
        told = _ask(python)
    except OSError as error:
        problem = f"{python} cannot be run ({error.strerror})"
        raise TrainingError(Fault(file, field, problem, "name a Python that has mlx")) from None
    if "problem" in told:
        raise TrainingError(Fault(file, field, f"{python} cannot be run ({told['problem']})", "name another Python"))
    if told["missing"]:
        problem = f"{python} has no {', '.join(told['missing'])}"
        hint = f"run `{python} -m pip install -r {folder / 'requirements.txt'}`, or name another Python"
        raise TrainingError(Fault(file, field, problem, hint))
    return told["version"]


# what Pythons told that can run it, and when their packages last changed
_told: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}


def _ask(python: Path) -> dict[str, Any]:
    """What a Python tells of itself: asked again when it, or what is installed beside its mlx, has changed."""
    if python in _told:
        stamp, told = _told[python]
        if stamp == _stamp(python, told):
            return told
    told = _run_probe(python)
    if "place" in told and not told["missing"]:
        _told[python] = _stamp(python, told), told
    return told


def _stamp(python: Path, told: dict[str, Any]) -> tuple[int, int]:
    place = Path(told["place"])
    return python.stat().st_mtime_ns, place.stat().st_mtime_ns if place.is_dir() else 0


def _run_probe(python: Path) -> dict[str, Any]:
    """Takes some tens of milliseconds. Raises OSError where there is nothing to run."""
    command = [str(python), "-c", _PROBE, *_NEEDED]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PROBE_LIMIT_S)
    except subprocess.TimeoutExpired:
        return {"problem": f"no answer in {_PROBE_LIMIT_S} s"}
    if answer.returncode != 0:
        return {"problem": (answer.stderr.strip().splitlines() or [f"exit {answer.returncode}"])[-1]}
    try:
        return json.loads(answer.stdout)
    except ValueError:
        return {"problem": "it does not answer as a Python does"}
