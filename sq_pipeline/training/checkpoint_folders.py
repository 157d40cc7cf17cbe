"""The folders that trainings leave their checkpoints in: when they go, and which of them end in a divergence.

Not here: what is in them (the trainer's).
"""

import json
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from sq_pipeline.common.atomic import disk_error, write_text
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.common.plain_file import read_plain_text
from sq_pipeline.training.schedule import SCHEDULE_REVISION

ABANDONED_AFTER_S = 14 * 24 * 3600.0
_DIVERGED = "diverged.json"


def remove_checkpoints(data: DataDir, fingerprint: str) -> None:
    """Remove the checkpoints of the adapter with this fingerprint, if there are any; raises StorageError."""
    _remove(data.checkpoint_folder(fingerprint))
    with suppress(OSError):  # there are others in it
        data.checkpoints_root.rmdir()


def remove_abandoned_checkpoints(data: DataDir, wanted: Callable[[], Collection[str]]) -> None:
    """Remove what was written to last more than two weeks ago and is of none of the `wanted` fingerprints (only asked
    for where something is so old): an edit has made its adapter another, and was not undone since. Raises StorageError.
    """
    old = [folder for folder in _folders(data.checkpoints_root) if _is_old(folder)]
    kept = {data.checkpoint_folder(fingerprint) for fingerprint in wanted()} if old else set[Path]()
    for folder in old:
        if folder not in kept:
            _remove(folder)


def last_checkpoint(data: DataDir, fingerprint: str) -> int | None:
    """After which iteration the training with this fingerprint has a checkpoint, by its file's name; None: it has none.

    Whether it can be used is the trainer's to say.
    """
    folder = data.checkpoint_folder(fingerprint)
    found = [int(path.stem) for path in folder.glob("[0-9]*.safetensors") if path.stem.isdecimal()]
    return max(found, default=None)


def note_divergence(data: DataDir, fingerprint: str, chip: str, fault: Fault) -> None:
    """Remember that the training with this fingerprint diverges on such a chip; raises StorageError."""
    told = {"chip": chip, "schedule": SCHEDULE_REVISION}
    told |= {"problem": fault.problem, "hint": fault.hint, "field": fault.field}
    write_text(data.checkpoint_folder(fingerprint) / _DIVERGED, json.dumps(told) + "\n")


def divergence_of(data: DataDir, fingerprint: str, chip: str, file: str) -> Fault | None:
    """Why the training with this fingerprint is not begun again on such a chip; None where nothing is known of it."""
    return divergence_in(data.checkpoint_folder(fingerprint), chip, file)


def divergence_in(folder: Path, chip: str, file: str) -> Fault | None:
    """`divergence_of` the training whose checkpoints are in `folder`."""
    try:
        told = json.loads(read_plain_text(folder / _DIVERGED))
        # another chip's arithmetic may stay within bounds, and so may other rates
        if (told["chip"], told["schedule"]) != (chip, SCHEDULE_REVISION):
            return None
        return Fault(file, told["field"], f"the training diverged: {told['problem']}", told["hint"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []


def _is_old(folder: Path) -> bool:
    try:
        last_s = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return False  # another process is at it
    except OSError as error:
        raise disk_error(folder, error) from error
    return time.time() - last_s > ABANDONED_AFTER_S


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(folder, error) from error
