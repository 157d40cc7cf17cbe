"""The checkpoints of one training: a folder with the last two states that it can be continued from, and while losses
are high with older ones, from before they were.

Format: `<iteration>.safetensors` with the loop's arrays, `losses` and `order`; metadata `identity` (what the training
is settled by), `position` (JSON: iteration, time, random state, validation losses), `content` (a hash of position and
arrays).
A file that is damaged or of another training is passed over. Not here: the loop (`mlx.loop`), when a checkpoint
is due (`mlx.trainer`), when the folder goes (`training.checkpoint_folders`).
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.common.atomic import disk_error
from sq_pipeline.common.errors import AdapterError, Fault, StorageError
from sq_pipeline.common.processes.deaths import goes_on_after
from sq_pipeline.engines.trainers.mlx.array_bits import Tensor, array_of, tensors_of, write_tensors
from sq_pipeline.engines.trainers.mlx.loop import LoopState, TrainingLoop

_log = logging.getLogger(__name__)

_KEPT = 2
_LOSSES, _ORDER = "losses", "order"


@dataclass(frozen=True)
class Checkpoint:
    """A state of the loop, and what was told of the training up to it (`validation` by iteration)."""

    state: LoopState
    losses: tuple[float, ...]
    elapsed_s: float
    resumed_at: tuple[int, ...]
    validation: tuple[tuple[int, float], ...] = ()


class CheckpointFolder:
    """The checkpoints in `folder`; only those of `identity` are its own."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder, self._identity = folder, identity
        self._own: list[Path] = []

    @property
    def last_iteration(self) -> int | None:
        """The iteration of the last checkpoint that was loaded or saved."""
        return int(self._own[-1].stem) if self._own else None

    def resume(self, loop: TrainingLoop) -> Checkpoint | None:
        """Bring the loop to the newest of its own that is whole, and return that; None where there is none.

        What a killed writer left is removed. Raises StorageError.
        """
        _remove(self._folder.glob(".*.part.safetensors"))
        paths = sorted((path for path in self._folder.glob("*.safetensors") if path.stem.isdecimal()), reverse=True)
        for index, path in enumerate(paths):
            try:
                checkpoint = self._load(path)
                loop.restore(checkpoint.state)
            except (AdapterError, OSError, ValueError) as error:
                _log.warning("checkpoint %s is passed over: %s", path.name, error)
                continue
            self._own = paths[index:][::-1]
            goes_on_after(checkpoint.state.iteration)
            return checkpoint
        return None

    def _load(self, path: Path) -> Checkpoint:
        file = open_safetensors(path)
        if file.metadata.get("identity") != self._identity:
            raise ValueError("it is of another training")
        arrays: dict[str, mx.array] = {}
        lists: dict[str, npt.NDArray[Any]] = {}

        def read() -> Iterator[Tensor]:
            for name, info in sorted(file.tensors.items()):
                values = file.read(name)  # one at a time: all of them twice would not fit where the training just does
                yield info, values
                if name in (_LOSSES, _ORDER):
                    lists[name] = values
                else:
                    arrays[name] = array_of(info, values)

        if file.metadata.get("content") != _content_hash(read(), file.metadata.get("position", "")):
            raise ValueError("its content is not what was written")
        losses, order = lists[_LOSSES].view(np.float64), lists[_ORDER].view(np.int64)
        position: dict[str, Any] = json.loads(file.metadata["position"])
        iteration: int = position["iteration"]
        if len(losses) != iteration or int(path.stem) != iteration:
            raise ValueError(f"it says iteration {iteration} and has {len(losses)} losses")
        return Checkpoint(
            LoopState(iteration, arrays, position["numbers"], tuple(order.tolist()), tuple(position["waiting"])),
            tuple(losses.tolist()),
            float(position["elapsed_s"]),
            tuple(position["resumed_at"]),
            tuple((at, loss) for at, loss in position["held_out"]),
        )

    def save(self, checkpoint: Checkpoint, wanted: Iterable[int] = ()) -> None:
        """Write a checkpoint, whole or not at all, then remove all but the last two of its own and, for each of the
        `wanted` iterations, the newest that is not after it.

        Raises StorageError, and leaves the earlier ones as they were.
        """
        state = checkpoint.state
        tensors = [
            (TensorInfo(_LOSSES, "F64", (len(checkpoint.losses),)), np.array(checkpoint.losses).view(np.uint64)),
            (TensorInfo(_ORDER, "I64", (len(state.order),)), np.array(state.order, np.int64).view(np.uint64)),
        ]
        tensors = sorted([*tensors, *tensors_of(state.arrays)], key=lambda pair: pair[0].name)
        numbers = {
            "iteration": state.iteration,
            "elapsed_s": checkpoint.elapsed_s,
            "resumed_at": checkpoint.resumed_at,
            "numbers": state.numbers,
            "waiting": state.waiting,
            "held_out": checkpoint.validation,
        }
        position = json.dumps(numbers)
        content = _content_hash(tensors, position)
        metadata = {"identity": self._identity, "content": content, "position": position}
        path = self._folder / f"{state.iteration:07d}.safetensors"
        with self.telling_what_is_kept():
            write_tensors(path, tensors, metadata)
        own = [*(own for own in self._own if own != path), path]
        kept = {*own[-_KEPT:], *filter(None, (_newest(own, until) for until in wanted))}
        self._own = [path for path in own if path in kept]
        goes_on_after(state.iteration)
        _remove(path for path in self._folder.glob("[0-9]*.safetensors") if path not in self._own)

    def drop_after(self, iteration: int) -> None:
        """Remove its own checkpoints of later iterations. Raises StorageError."""
        late = [path for path in self._own if int(path.stem) > iteration]
        self._own = [path for path in self._own if path not in late]
        _remove(late)

    @contextmanager
    def telling_what_is_kept(self) -> Iterator[None]:
        """A StorageError of what is written within says after which iteration the training will go on."""
        try:
            yield
        except StorageError as error:
            raise StorageError([self._with_last(fault) for fault in error.faults]) from error

    def _with_last(self, fault: Fault) -> Fault:
        last = self.last_iteration
        kept = "nothing was kept" if last is None else f"the training goes on after iteration {last}"
        return Fault(fault.file, fault.field, fault.problem, f"{fault.hint.removesuffix('; nothing was kept')}; {kept}")


def _newest(paths: Sequence[Path], until: int) -> Path | None:
    return max((path for path in paths if int(path.stem) <= until), default=None, key=lambda path: int(path.stem))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(path, error) from error


def _content_hash(tensors: Iterable[Tensor], position: str) -> str:
    digest = hashlib.sha256(f"{position}\n".encode())
    for info, bits in tensors:
        digest.update(f"{info.name} {info.dtype} {info.shape}\n".encode())
        digest.update(np.ascontiguousarray(bits).reshape(-1).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"
