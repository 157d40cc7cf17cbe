"""How much memory MLX may use on this machine. Imports mlx; what can be known without it is in `machine`."""

import mlx.core as mx

from sq_pipeline.engines import machine


def usable_bytes() -> int:
    """Physical memory; on a Mac's GPU no more than what Metal recommends to keep in use, which is less.

    The machine's, not what is free at the moment: a training that is continued must find the same.
    """
    limit = mx.device_info().get("max_recommended_working_set_size") if mx.metal.is_available() else None
    return min(machine.memory_bytes(), int(limit)) if limit else machine.memory_bytes()
