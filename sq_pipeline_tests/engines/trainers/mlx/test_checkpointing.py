"""Gradient checkpointing and a quantized base change memory; the gradients of what is trained stay what they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.flux.quantized import fill_quantized, quantize_blocks, weights_bytes
from sq_pipeline.engines.flux.weights import check_weights, dims_of, load_weights
from sq_pipeline.training.memory import TrainingSettings, training_need, weight_bytes
from sq_pipeline.training.recipe import Recipe
from sq_pipeline_tests.benchmarks.memory_cases import Case, measure

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mlx import nn
from mlx import optimizers as optim
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_flatten, tree_map
from safetensors.numpy import save_file

from sq_pipeline.engines.trainers.mlx.lora_layers import LoRALinear, add_lora, block_linears
from sq_pipeline_tests.engines.flux.flux_files import bfl_arrays, diffusers_arrays

DIMS = FluxDims(256, 2, 2, 96, 64, takes_guidance=True)
GRID = (3, 4)


def make_network(
    *, bits: Literal[8, 4] | None = None, dtype: mx.Dtype = mx.float32, covers: Any = lambda _: True, rank: int = 4
) -> Flux:
    """A network with an adapter whose matrices are both not zero."""
    mx.random.seed(5)
    network = Flux(DIMS)
    network.set_dtype(dtype)
    if bits is not None:
        quantize_blocks(network, bits)
    add_lora(network, rank, covers=covers)
    network.update(tree_map(lambda array: 0.05 * mx.random.normal(array.shape), network.trainable_parameters()))
    mx.eval(network.parameters())
    return network


def loss_of(network: Flux, batch: int = 2) -> mx.array:
    """A loss over inputs that are the same at each call."""
    numbers = np.random.default_rng(4)

    def draw(*shape: int) -> mx.array:
        return mx.array(numbers.standard_normal((batch, *shape)).astype(np.float32))

    latents, text, pooled, wanted = draw(GRID[0] * GRID[1], 64), draw(7, 96), draw(64), draw(GRID[0] * GRID[1], 64)
    dtype = network.img_in.weight.dtype
    arguments = [array.astype(dtype) for array in (latents, text, pooled, mx.full((batch,), 0.3))]
    prediction = network(*arguments, GRID, mx.full((batch,), 4.0).astype(dtype))
    return ((prediction - wanted) ** 2).mean()


def gradients_of(network: Flux, *, recomputes: bool) -> tuple[float, dict[str, mx.array]]:
    network.checkpoints_blocks = recomputes
    loss, gradients = value_and_grad(network, loss_of)(network)
    mx.eval(loss, gradients)
    return loss.item(), dict(tree_flatten(gradients))


# --- checkpointing


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_gradients_are_the_same_to_the_bit(bits: Literal[8, 4] | None) -> None:
    network = make_network(bits=bits)
    loss, kept = gradients_of(network, recomputes=False)
    again_loss, again = gradients_of(network, recomputes=True)
    assert len(kept) == 2 * 26
    assert all(float(mx.abs(array).max()) > 0 for array in kept.values())
    assert again_loss == loss
    assert {name for name in kept if not mx.array_equal(kept[name], again[name])} == set()


def test_in_bfloat16_too() -> None:
    network = make_network(dtype=mx.bfloat16)
    (_, kept), (_, again) = (gradients_of(network, recomputes=recomputes) for recomputes in (False, True))
    assert {array.dtype for array in again.values()} == {mx.float32}
    assert {name for name in kept if not mx.array_equal(kept[name], again[name])} == set()


def test_blocks_that_train_nothing_pass_the_gradient_on() -> None:
    network = make_network(covers=lambda name: name.startswith("double_blocks.0.img"))
    (_, kept), (_, again) = (gradients_of(network, recomputes=recomputes) for recomputes in (False, True))
    assert len(kept) == 2 * 5
    assert {name for name in kept if not mx.array_equal(kept[name], again[name])} == set()


def test_whole_blocks_can_be_trained_so() -> None:
    """Nothing in it is about adapters: gradients of weights, and of what comes before the blocks, are whole too."""
    mx.random.seed(6)
    network = Flux(DIMS)
    (_, kept), (_, again) = (gradients_of(network, recomputes=recomputes) for recomputes in (False, True))
    assert kept.keys() == again.keys()
    for name, array in kept.items():
        assert mx.allclose(array, again[name], rtol=1e-4, atol=1e-7), name


def test_trainings_are_the_same_to_the_bit() -> None:
    """Steps of the optimizer in between: no block keeps an array of an earlier backward pass."""
    adapters: list[dict[str, mx.array]] = []
    for recomputes in (False, True):
        network = make_network()
        network.checkpoints_blocks = recomputes
        optimizer = optim.Adam(1e-2)
        step = value_and_grad(network, loss_of)
        losses: list[float] = []
        for _ in range(3):
            loss, gradient = step(network)
            optimizer.update(network, gradient)
            mx.eval(loss, network.trainable_parameters(), optimizer.state)
            losses.append(loss.item())
        assert losses[2] < losses[0]
        adapters.append(dict(tree_flatten(network.trainable_parameters())))
    assert all(bool(mx.array_equal(adapters[0][name], adapters[1][name])) for name in adapters[0])


def test_more_blocks_need_hardly_more_memory() -> None:
    """Each block more takes its outputs, a thirtieth of what it keeps otherwise; at 12 blocks the peak is far less."""
    peaks: dict[tuple[int, bool], int] = {}
    for single in (1, 9):
        for recomputes in (False, True):
            measured = measure(Case(128, 3, single, 16, (8, 12), recomputes=recomputes))
            peaks[single, recomputes] = measured.peak_bytes - measured.weights_bytes - 5 * measured.adapter_bytes
    assert peaks[9, True] - peaks[1, True] < 0.1 * (peaks[9, False] - peaks[1, False])
    assert peaks[9, True] < 0.4 * peaks[9, False]


# --- the memory model


@pytest.mark.parametrize("dims", [DIMS, FluxDims(384, 1, 3, 4096, 768), FluxDims(128, 1, 1, 4096, 768)])
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_weights_are_counted_to_the_byte(dims: FluxDims, bits: Literal[16, 8, 4]) -> None:
    case = Case(dims.hidden_size, dims.double_blocks, dims.single_blocks)
    network = Flux(dims_of(case.base_model))
    network.set_dtype(mx.bfloat16)
    if bits != 16:
        quantize_blocks(network, bits)
    assert weight_bytes(case.base_model, bits, "bfloat16") == weights_bytes(network)


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_foretells_a_step(dtype: Any, recomputes: bool) -> None:
    """Sizes that are not among those it was fitted to; the margin is for the error."""
    case = Case(256, 1, 2, 48, (9, 10), rank=12, dtype=dtype, recomputes=recomputes)
    measured = measure(case)
    recipe, settings = Recipe(rank=case.rank, sample_interval=1000), TrainingSettings(16, recomputes)
    base_model, tokens = case.base_model, case.shape.image_tokens
    base_model = replace(base_model, t5_token_budget=case.text_tokens)
    need = training_need(base_model, recipe, tokens, settings, dtype=dtype)
    foretold = need.training_bytes - need.margin - need.beyond_step
    assert need.weights == measured.weights_bytes
    assert need.adapter == measured.adapter_bytes
    assert abs(foretold - measured.peak_bytes) < need.margin


# --- a quantized base


@pytest.mark.parametrize("bits", [8, 4])
def test_lora_over_a_quantized_layer(bits: int) -> None:
    mx.random.seed(7)
    linear = nn.Linear(128, 192)
    quantized = linear.to_quantized(64, bits)
    layer = LoRALinear(quantized, 3, 0.5)
    assert (layer.lora_a.shape, layer.lora_b.shape) == ((128, 3), (3, 192))
    layer.lora_b = mx.random.normal((3, 192))
    x = mx.random.normal((5, 128))
    wanted = quantized(x) + 0.5 * (x @ layer.lora_a @ layer.lora_b)
    assert mx.allclose(layer(x), wanted, atol=1e-5)
    layer.linear.freeze()
    assert set(dict(tree_flatten(layer.trainable_parameters()))) == {"lora_a", "lora_b"}


@pytest.mark.parametrize("bits", [8, 4])
def test_quantized_while_it_is_read(bits: Literal[8, 4], tmp_path: Path) -> None:
    """As if the whole model had been quantized, but it is never whole in memory."""
    base_model = Case(256, 2, 2).base_model
    dims = FluxDims(256, 2, 2, 160, 96, takes_guidance=True)
    save_file(bfl_arrays(dims, diffusers_arrays(dims, 3)), tmp_path / "flux.safetensors")
    weights = check_weights(tmp_path / "flux.safetensors", dims, base_model.how_to_get)
    whole = load_weights(weights, dims)
    full_bytes = weights_bytes(whole)
    wanted = {
        f"{name}.{part}": array
        for name, linear in block_linears(whole)
        for part, array in zip(
            ("weight", "scales", "biases"), mx.quantize(linear.weight, group_size=64, bits=bits), strict=True
        )
    }
    mx.eval(wanted)
    unquantized = dict(tree_flatten(whole.parameters()))
    del whole
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    network = load_weights(weights, dims, bits=bits)
    largest = 3 * 4 * 7 * 256 * 256  # in float32 as it is in the file, and what is made of it
    assert mx.get_peak_memory() - before < weights_bytes(network) + largest
    assert weights_bytes(network) < 0.7 * full_bytes
    read = dict(tree_flatten(network.parameters()))
    assert not tree_flatten(network.trainable_parameters())
    for name, array in read.items():
        expected = wanted[name] if name in wanted else unquantized[name]
        assert mx.array_equal(array, expected), name
    assert {name for name, module in network.named_modules() if isinstance(module, nn.QuantizedLinear)} == {
        name for name, _ in block_linears(network)
    }
    assert not fill_quantized(network, "img_in.weight", mx.zeros((256, 64)))
    assert not fill_quantized(network, "double_blocks.0.img_attn.qkv.bias", mx.zeros((768,)))
