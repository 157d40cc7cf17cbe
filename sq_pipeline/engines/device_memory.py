"""How much memory MLX may use on this machine, and what it computes in. Imports mlx; the rest is in `machine`."""

import mlx.core as mx

from sq_pipeline.base_models.base_models import Dtype
from sq_pipeline.engines import machine


def usable_bytes() -> int:
    """Physical memory; on a Mac's GPU no more than what Metal recommends to keep in use, which is less.

    The machine's, not what is free at the moment: a training that is continued must find the same.
    """
    limit = mx.device_info().get("max_recommended_working_set_size") if mx.metal.is_available() else None
    return min(machine.memory_bytes(), int(limit)) if limit else machine.memory_bytes()


def computing_dtype() -> Dtype:
    """What a wide model is trained and rendered in here: float32 on a CPU, where bfloat16 products do not go through
    BLAS, else bfloat16. What a training needs is counted by it, and its parts are loaded by it.
    """
    return "float32" if mx.default_device() == mx.Device(mx.cpu) else "bfloat16"
