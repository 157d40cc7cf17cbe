"""Whole adapters of random numbers, under the names that mflux loads, without a training."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of


def write_adapter(path: Path, seed: int, base_model: Flux1Model = FLUX1_MODELS["tiny-flux"], rank: int = 1) -> Path:
    """An adapter over all modules of a FLUX.1 in BFL's layout, which mflux knows under Kohya's names."""
    numbers = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for module, inputs, outputs in modules_of(base_model):
        name = f"lora_unet_{module.replace('.layers.', '_').replace('.', '_')}"
        tensors[f"{name}.lora_down.weight"] = numbers.normal(0, 0.02, (rank, inputs)).astype(np.float32)
        tensors[f"{name}.lora_up.weight"] = numbers.normal(0, 1, (outputs, rank)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path
