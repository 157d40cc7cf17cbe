"""What an adapter in mlx-examples' names is meant to add, read by nothing of the product but its dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sq_pipeline.adapters.form import Matrix, Patch


@dataclass(frozen=True)
class MlxSource:
    """The `UpdateSource` of a file: `lora_a` (inputs, rank) and `lora_b` (rank, outputs) of each module."""

    patches: Mapping[str, Patch]
    tensors: Mapping[str, npt.NDArray[np.float32]]

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        return self.tensors[matrix.key].T

    def without(self, *slots: str) -> "MlxSource":
        return MlxSource({slot: patch for slot, patch in self.patches.items() if slot not in slots}, self.tensors)

    def scaled(self, factor: float) -> "MlxSource":
        tensors = {name: array * np.float32(factor) for name, array in self.tensors.items() if name.endswith("lora_b")}
        return MlxSource(self.patches, {**self.tensors, **tensors})


def read_mlx_source(path: Path, scale: float = 1.0) -> MlxSource:
    """The update of each module is scale · b · a."""
    tensors = load_file(path)
    patches: dict[str, Patch] = {}
    for down_key, down in tensors.items():
        module, _, matrix = down_key.rpartition(".")
        if matrix == "lora_a":
            up_key, (inputs, rank) = f"{module}.lora_b", down.shape
            outputs = tensors[up_key].shape[1]
            halves = (Matrix(down_key, "F32", rank, inputs, True), Matrix(up_key, "F32", outputs, rank, True))
            patches[module] = Patch(module, "", *halves, None, scale)
    return MlxSource(patches, tensors)
