"""What is shipped, copied into a new data directory. Not here: where it lies (`layout`), what is drawn (`painter`)."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from sq_pipeline.common.atomic import copy_file, disk_error
from sq_pipeline.common.errors import Fault, SelectionError, StorageError
from sq_pipeline.common.layout import shipped_data_root

# what a checkout's `data/` may hold besides, when somebody worked in it
_COMPUTED = {"store", "lora", "lora-datasets", "images", "dagster_home", "__pycache__"}


def copy_shipped_data(target: Path) -> None:
    """Copy what a person writes (packs, keymaps, verify prompts, models, settings) into a new or an empty folder.

    Whole, or nothing is left. Raises SelectionError where something else is there, StorageError where the disk refuses.
    """
    _insist_on_empty(target)
    source = shipped_data_root()
    made = [path for path in (target, *target.parents) if not path.exists()]
    is_whole = False
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in _shipped_files(source):
            copy_file(path, target / path.relative_to(source))
        is_whole = True
    except OSError as error:
        raise error if isinstance(error, StorageError) else disk_error(target, error) from error
    finally:
        if not is_whole:
            _remove([made[-1]] if made else target.iterdir())


def _insist_on_empty(target: Path) -> None:
    hint = "name a new or an empty folder"
    try:
        if any(target.iterdir()):
            raise SelectionError(Fault(str(target), "", "is not empty, and is no data directory", hint))
    except FileNotFoundError:
        return
    except OSError as error:
        raise SelectionError(Fault(str(target), "", f"cannot be used ({error.strerror})", hint)) from error


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _shipped_files(source: Path) -> Iterator[Path]:
    """Every file, those of `content` last: with that folder it counts as a data directory."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    places = {path: path.relative_to(source).parts for path in files}
    shipped = [p for p in files if not _COMPUTED & {*places[p]} and not any(part[0] == "." for part in places[p])]
    return iter(sorted(shipped, key=lambda path: places[path][0] == "content"))
