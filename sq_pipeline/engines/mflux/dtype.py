"""Which dtype is computed in: float32 on a CPU, whose BLAS knows no bfloat16, mflux's own otherwise."""

import mlx.core as mx
from mflux.models.common.config.model_config import ModelConfig

from sq_pipeline.engines.device_memory import computing_dtype


def use_float32() -> None:
    """Let mflux compute in float32 on a CPU, see `rendering_dtype`.

    `ModelConfig.precision` is a class attribute that mflux reads everywhere.
    """
    ModelConfig.precision = rendering_dtype()


def rendering_dtype() -> mx.Dtype:
    """What pictures are rendered in here: mflux's own choice, but float32 where `computing_dtype` is."""
    return mx.float32 if computing_dtype() == "float32" else ModelConfig.precision
