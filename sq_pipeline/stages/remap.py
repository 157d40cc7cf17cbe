"""Remap: an MLX adapter to the file that a loader reads. Total or nothing; streamed; equal bytes for equal input."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.core.adapter_header import TensorInfo
from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.errors import AdapterError, Fault
from sq_pipeline.core.keymap import Keymap
from sq_pipeline.core.remap_plan import RemapPlan, plan_remap
from sq_pipeline.storage.safetensors_file import (
    SafetensorsFile,
    is_finite,
    open_safetensors,
    tensors_data_version,
    write_safetensors,
)


@dataclass(frozen=True)
class RemapResult:
    """What was written. `data_version` is of the output's tensors; `source_version` of the input's."""

    tensors: int
    modules: int
    ranks: tuple[int, ...]
    keymap: str
    keymap_version: int
    rules_hash: str
    source_version: str
    data_version: str

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {**asdict(self), "ranks": list(self.ranks)}


def remap_adapter(source: Path, target: Path, keymap: Keymap, base_model: BaseModel | None = None) -> RemapResult:
    """Write `target` from the MLX adapter `source`.

    Raises one AdapterError naming every unknown, missing, duplicate, misshapen or non-finite tensor, before
    anything is written; StorageError when the disk refuses. With `base_model` all its modules must be covered.
    """
    if target.is_dir():
        raise AdapterError(Fault(str(target), "", "is a folder, not a file", "name the file to write"))
    file = open_safetensors(source)
    faults = [
        Fault(str(source), name, "holds NaN or infinity", "train it again, at a lower learning rate")
        for name, info in file.tensors.items()
        if not is_finite(info, file.read(name))
    ]
    try:
        plan = plan_remap(file.tensors, keymap, str(source), base_model)
    except AdapterError as error:
        raise AdapterError([*error.faults, *faults]) from None
    if faults:
        raise AdapterError(faults)
    source_version = tensors_data_version(source)
    metadata = {
        "format": keymap.target,
        "lora_rank": ",".join(map(str, plan.ranks)),
        "sq.keymap": keymap.name,
        "sq.keymap_version": str(keymap.version),
        "sq.keymap_rules": keymap.rules_hash,
        "sq.source": source_version,
    }
    write_safetensors(target, _outputs(file, plan), [move.output for move in plan.moves], metadata)
    return RemapResult(
        tensors=len(plan.moves),
        modules=plan.modules,
        ranks=plan.ranks,
        keymap=keymap.name,
        keymap_version=keymap.version,
        rules_hash=keymap.rules_hash,
        source_version=source_version,
        data_version=tensors_data_version(target),
    )


def _outputs(file: SafetensorsFile, plan: RemapPlan) -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
    for move in plan.moves:
        if move.source is None:
            yield move.output, np.array(move.rank, dtype=np.float32).view(np.uint32)
        else:
            bits = file.read(move.source)
            rows = bits.T if move.is_transposed else bits
            yield move.output, rows if move.rows is None else rows[slice(*move.rows)]
