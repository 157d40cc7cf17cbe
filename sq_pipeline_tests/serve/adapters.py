"""Whole adapters for tiny-flux of random numbers, under the names that mflux loads, without a training."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sq_pipeline.core.base_models import BASE_MODELS
from sq_pipeline.core.flux_modules import modules_of

_MODULES = list(modules_of(BASE_MODELS["tiny-flux"]))


def write_adapter(path: Path, seed: int, strength: float = 0.02) -> Path:
    """An adapter of rank 1 over all modules in BFL's layout, which mflux knows under Kohya's names."""
    numbers = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for module, inputs, outputs in _MODULES:
        name = f"lora_unet_{module.replace('.layers.', '_').replace('.', '_')}"
        tensors[f"{name}.lora_down.weight"] = numbers.normal(0, strength, (1, inputs)).astype(np.float32)
        tensors[f"{name}.lora_up.weight"] = numbers.normal(0, 1, (outputs, 1)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
