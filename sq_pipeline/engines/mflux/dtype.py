"""Which dtype is computed in: float32 on a CPU, whose BLAS knows no bfloat16, mflux's own otherwise."""

import mlx.core as mx
from mflux.models.common.config.model_config import ModelConfig


def use_float32() -> None:
    """Let mflux compute in float32 on a CPU, see `rendering_dtype`.

    `ModelConfig.precision` is a class attribute that mflux reads everywhere.
    """
    ModelConfig.precision = rendering_dtype()


def rendering_dtype() -> mx.Dtype:
    """What pictures are rendered in here: mflux's own choice, but float32 on a CPU.

    bfloat16 products do not go through BLAS there.
    """
    return mx.float32 if mx.default_device() == mx.Device(mx.cpu) else ModelConfig.precision
