"""Adapters in the internal form, read from files in mlx-examples' names by nothing of the product but its dataclasses."""

from dataclasses import replace
from pathlib import Path

from sq_pipeline.core.adapter_form import Matrix, Patch
from sq_pipeline.stages.adapter_source import AdapterSource
from sq_pipeline.storage.safetensors_file import open_safetensors


def read_mlx_source(path: Path, scale: float = 1.0) -> AdapterSource:
    """`lora_a` (inputs, rank) and `lora_b` (rank, outputs) of each module, turned; the update is scale · b · a."""
    file = open_safetensors(path)
    patches: dict[str, Patch] = {}
    for name, info in file.tensors.items():
        module, _, matrix = name.rpartition(".")
        if matrix == "lora_a":
            other = file.tensors[f"{module}.lora_b"]
            down = Matrix(name, info.dtype, info.shape[1], info.shape[0], is_transposed=True)
            up = Matrix(other.name, other.dtype, other.shape[1], other.shape[0], is_transposed=True)
            patches[module] = Patch(module, "", down, up, None, scale)
    return AdapterSource(file, "mlx-examples", patches)


def without(source: AdapterSource, *slots: str) -> AdapterSource:
    """The same without some of its patches."""
    return replace(source, patches={slot: patch for slot, patch in source.patches.items() if slot not in slots})
