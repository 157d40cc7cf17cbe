"""What a run of `mflux-train` leaves in its folder: checkpoints, losses, previews; and what of it is ours to keep.

`run/checkpoints/0000050_checkpoint.zip` (adapter, optimizer, random state, losses), `run/loss/loss.html` (every loss so
far, in a line of JSON), `run/preview/0000050_preview_image_preview_00.png`: mflux 0.24.0, `training/state/` and
`training/statistics/`. `kept/0000050.safetensors` and `training.json` (what the run is of) are written here.
"""

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sq_pipeline.common.atomic import disk_error, write_bytes, write_text
from sq_pipeline.common.plain_file import read_plain_text
from sq_pipeline.common.processes.deaths import goes_on_after
from sq_pipeline.engines.trainers.mflux_train.config import DATA, RUN

_log = logging.getLogger(__name__)

_KEPT_CHECKPOINTS = 2
_NOTES, _KEPT = "training.json", "kept"
_LOSSES = re.compile(r"const data = (\{.*\});")
_PREVIEW = re.compile(r"(\d+)_preview_image_preview_(\d+)\.png")


@dataclass
class Notes:
    """`identity`: what the run is of. `elapsed_s`: the time that it took, by the iteration of a checkpoint."""

    identity: str
    elapsed_s: dict[str, float] = field(default_factory=dict[str, float])
    resumed_at: list[int] = field(default_factory=list[int])


class TrainFolder:
    """The folder of one training; `open` continues it or makes it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = Notes("")
        self._seen: set[Path] = set()

    def open(self, identity: str) -> Path | None:
        """Take up what is of this identity: its newest whole checkpoint, or None. What is of another goes.

        Raises StorageError.
        """
        notes = self._read_notes()
        zips = self.checkpoints()
        if notes is not None and notes.identity == identity:
            while zips:
                newest = zips[max(zips)]
                if is_whole(newest):
                    self.notes = notes
                    return newest
                _log.warning("checkpoint %s is passed over: it is not whole", newest.name)
                newest.unlink()
                zips = self.checkpoints()
        self.clear()
        self.notes = Notes(identity)
        self._write_notes()
        return None

    def clear(self) -> None:
        """Remove everything that a training leaves here, its pictures aside; raises StorageError."""
        try:
            for name in (RUN, _KEPT):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
            (self.folder / _NOTES).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(self.folder, error) from error

    def clear_data(self) -> None:
        """Remove the pictures; raises StorageError."""
        try:
            if (self.folder / DATA).exists():
                shutil.rmtree(self.folder / DATA)
        except OSError as error:
            raise disk_error(self.folder, error) from error

    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints by iteration, whole or not."""
        found = (self.folder / RUN / "checkpoints").glob("*_checkpoint.zip")
        return {int(path.name.partition("_")[0]): path for path in found}

    @property
    def last_iteration(self) -> int:
        """The iteration of the last checkpoint that is whole, which a training is continued from; 0: there is none."""
        return max((iteration for iteration, path in self.checkpoints().items() if is_whole(path)), default=0)

    def new_checkpoints(self) -> Iterator[tuple[int, Path]]:
        """Those that became whole since this was last asked, the oldest first, each there until the next is taken."""
        for iteration, path in sorted(self.checkpoints().items()):
            if path not in self._seen and is_whole(path):
                self._seen.add(path)  # one by one: `adopt` removes among those that were seen
                yield iteration, path

    def kept_path(self, iteration: int) -> Path:
        """Where the adapter of an iteration is kept."""
        return self.folder / _KEPT / f"{iteration:07d}.safetensors"

    def adopt(self, iteration: int, path: Path, elapsed_s: float, kept: Collection[int]) -> None:
        """Note a checkpoint, keep its adapter if it is `kept`, remove all but the last two. Raises StorageError."""
        if iteration in kept:
            write_bytes(self.kept_path(iteration), read_member(path, "_adapter.safetensors"))
        self.notes.elapsed_s[str(iteration)] = round(elapsed_s, 3)
        self._write_notes()
        goes_on_after(iteration)
        whole = sorted(done for done, file in self.checkpoints().items() if file in self._seen)
        for old in whole[:-_KEPT_CHECKPOINTS]:
            self.checkpoints()[old].unlink(missing_ok=True)

    def remove_after(self, iteration: int) -> None:
        """Remove the checkpoints after an iteration, whole or not; raises StorageError."""
        for done, path in self.checkpoints().items():
            if done > iteration:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise disk_error(path, error) from error

    def note_resume(self, iteration: int) -> None:
        """Note that the training goes on after this iteration; raises StorageError."""
        self.notes.resumed_at.append(iteration)
        self._write_notes()

    def losses(self) -> dict[int, float] | None:
        """Every loss that mflux-train has told so far, by iteration; None where the file is just being written."""
        path = self.folder / RUN / "loss" / "loss.html"
        try:
            match = _LOSSES.search(read_plain_text(path))
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        if match is None:
            return None
        told = json.loads(match[1])
        return dict(zip(map(int, told["steps"]), map(float, told["losses"]), strict=True))

    def samples(self) -> dict[tuple[int, int], Path]:
        """The pictures drawn so far, by iteration and prompt."""
        found: dict[tuple[int, int], Path] = {}
        for path in sorted((self.folder / RUN / "preview").glob("*.png")):
            if match := _PREVIEW.fullmatch(path.name):
                found[int(match[1]), int(match[2])] = path
        return found

    def _read_notes(self) -> Notes | None:
        try:
            return Notes(**json.loads(read_plain_text(self.folder / _NOTES)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _write_notes(self) -> None:
        write_text(self.folder / _NOTES, json.dumps(asdict(self.notes)))


def is_whole(path: Path) -> bool:
    """True for a checkpoint that was written to its end: mflux-train writes it in its place, a kill cuts it off."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "checkpoint.json" in archive.namelist() and archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def read_member(path: Path, ending: str) -> bytes:
    """The one file of a checkpoint whose name ends so; raises KeyError where there is none."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(ending):
                return archive.read(name)
    raise KeyError(ending)


def losses_of(path: Path) -> Mapping[int, float]:
    """The losses up to a checkpoint, by iteration."""
    told: dict[str, Any] = json.loads(read_member(path, "_loss.json"))
    return {int(entry["step"]): float(entry["loss"]) for entry in told["step_loss"]}
