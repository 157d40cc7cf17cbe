"""One training step of a FLUX.1 of any size with random weights, and what MLX had in memory at most.

Here: a case and its measurement, in a process of its own or in this one. Not here: which cases, and what is made of
them (`benchmarks.memory`).
"""

import gc
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sq_pipeline.base_models.base_models import FLUX1_MODELS, Flux1Model
from sq_pipeline.training.memory import StepShape


@dataclass(frozen=True)
class Case:
    """What a step is of. `grid`: rows and columns of patches of 16 pixels."""

    hidden_size: int = 256
    double_blocks: int = 2
    single_blocks: int = 4
    text_tokens: int = 64
    grid: tuple[int, int] = (16, 16)
    batch_size: int = 1
    rank: int = 8
    bits: Literal[16, 8, 4] = 16
    dtype: Literal["float32", "bfloat16"] = "float32"
    recomputes: bool = False
    is_compiled: bool = False

    @property
    def base_model(self) -> Flux1Model:
        """A base model of these sizes, which takes guidance as flux1-dev does."""
        sizes = {name: getattr(self, name) for name in ("hidden_size", "double_blocks", "single_blocks")}
        return replace(FLUX1_MODELS["flux1-dev"], **sizes)

    @property
    def shape(self) -> StepShape:
        """As the memory model sees it."""
        return StepShape(self.text_tokens, self.grid[0] * self.grid[1], self.batch_size)


@dataclass(frozen=True)
class Measured:
    """Bytes of the weights, of the adapter's matrices, and of all that MLX held at most in the step; its seconds."""

    weights_bytes: int
    adapter_bytes: int
    peak_bytes: int
    step_s: float


def measure_apart(case: Case) -> Measured:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "sq_pipeline_tests.benchmarks.memory_cases", json.dumps(asdict(case))]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=root)
    return Measured(**json.loads(done.stdout))


def measure(case: Case) -> Measured:
    """Two accumulated iterations with their optimizer step, as `mlx.loop` does them, in this process."""
    import mlx.core as mx
    from mlx import optimizers as optim
    from mlx.nn.utils import value_and_grad
    from mlx.utils import tree_flatten, tree_map

    from sq_pipeline.engines.flux.network import Flux
    from sq_pipeline.engines.flux.quantized import quantize_blocks, weights_bytes
    from sq_pipeline.engines.flux.weights import dims_of
    from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora

    gc.collect()
    before = mx.get_active_memory()
    dtype = mx.float32 if case.dtype == "float32" else mx.bfloat16
    dims = dims_of(case.base_model)
    network = Flux(dims)
    network.set_dtype(dtype)
    if case.bits != 16:
        quantize_blocks(network, case.bits)
    mx.eval(network.parameters())
    weights = weights_bytes(network)
    add_lora(network, case.rank)
    network.checkpoints_blocks = case.recomputes
    tokens = case.grid[0] * case.grid[1]
    latents = mx.random.normal((case.batch_size, tokens, 64)).astype(dtype)
    noise = mx.random.normal(latents.shape).astype(dtype)
    text = mx.random.normal((case.batch_size, case.text_tokens, dims.text_size)).astype(dtype)
    pooled = mx.random.normal((case.batch_size, dims.pooled_size)).astype(dtype)
    times, guidance = mx.full((case.batch_size,), 0.4, dtype=dtype), mx.full((case.batch_size,), 4.0, dtype=dtype)
    optimizer = optim.Adam(1e-4)
    optimizer.init(network.trainable_parameters())

    def loss_of(*arrays: mx.array) -> mx.array:
        latents, noise, text, pooled, times, guidance = arrays
        t = times[:, None, None]
        prediction = network((1 - t) * latents + t * noise, text, pooled, times, case.grid, guidance)
        return ((prediction + latents - noise) ** 2).mean()

    loss_and_gradient: Any = value_and_grad(network, loss_of)
    if case.is_compiled:
        state = [network.state]
        loss_and_gradient = partial(mx.compile, inputs=state, outputs=state)(loss_and_gradient)
    batch = (latents, noise, text, pooled, times, guidance)
    mx.eval(network.parameters(), optimizer.state, batch)
    adapter = sum(array.nbytes for array in dict(tree_flatten(network.trainable_parameters())).values())
    mx.reset_peak_memory()
    start = time.perf_counter()
    loss, gathered = loss_and_gradient(*batch)
    mx.eval(loss, gathered)
    loss, gradient = loss_and_gradient(*batch)
    gathered = tree_map(lambda a, b: (a + b) / 2, gathered, gradient)
    optimizer.update(network, gathered)
    del gathered, gradient
    mx.eval(loss, network.trainable_parameters(), optimizer.state)
    return Measured(weights, adapter, mx.get_peak_memory() - before, (time.perf_counter() - start) / 2)


if __name__ == "__main__":
    import sq_pipeline.engines  # noqa: F401 - makes BLAS ready before MLX is loaded

    values = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(asdict(measure(Case(**{**values, "grid": tuple(values["grid"])})))))
