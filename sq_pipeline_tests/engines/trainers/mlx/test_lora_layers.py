"""Which layers an adapter covers, how strong it is, and that the file holds what was trained."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.training.recipe import Recipe

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map

from sq_pipeline.engines.flux.quantized import quantize_blocks
from sq_pipeline.engines.trainers.mlx.lora_layers import (
    LoRALinear,
    adapter_tensors,
    add_lora,
    add_recipe_lora,
    block_linears,
    save_adapter,
)

TINY = BASE_MODELS["tiny-flux"]
DIMS = FluxDims(256, 2, 4, 128, 256)


def test_the_blocks_linear_layers_are_the_modules_of_the_registry() -> None:
    assert {name for name, _ in block_linears(Flux(DIMS))} == {name for name, _, _ in modules_of(TINY)}


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (("*",), 32),
        (("single_blocks.*",), 12),
        (("*.img_attn.qkv",), 2),
        (("*.img_attn.*", "*.linear1"), 8),
        (("double_blocks.1.txt_mlp.layers.0",), 1),
        (("*.linear[12]", "single_blocks.3.*"), 9),
    ],
)
@pytest.mark.parametrize("bits", [None, 4])
def test_only_the_modules_that_are_named_are_trained(patterns, count, bits) -> None:
    network = Flux(DIMS)
    if bits is not None:
        quantize_blocks(network, bits)
    recipe = Recipe(rank=2, modules=patterns)
    assert add_recipe_lora(network, recipe) == count
    wanted = {
        f"{name}.{matrix}": shape
        for name, inputs, outputs in modules_of(TINY)
        if recipe.covers(name)
        for matrix, shape in (("lora_a", (inputs, 2)), ("lora_b", (2, outputs)))
    }
    assert len(wanted) == 2 * count
    assert {name: array.shape for name, array in adapter_tensors(network).items()} == wanted
    assert set(dict(tree_flatten(network.trainable_parameters()))) == set(wanted)


def test_every_pattern_that_names_nothing_is_told_and_nothing_is_changed() -> None:
    network = Flux(DIMS)
    with pytest.raises(TrainingError) as error_info:
        add_recipe_lora(network, Recipe(modules=("*.img_attn.qkv", "double_blocks.7.*", "transformer.*")))
    assert [fault.field for fault in error_info.value.faults] == ["modules[1]", "modules[2]"]
    assert "'double_blocks.7.*' matches no module" in str(error_info.value)
    assert not any(isinstance(module, LoRALinear) for _, module in network.named_modules())


def test_random_numbers_do_not_depend_on_bits_or_alpha() -> None:
    """The same draws, in the same order, as for a plain adapter over all modules."""
    adapters: list[dict[str, mx.array]] = []
    for bits, alpha in ((None, None), (8, None), (None, 2.0)):
        network = Flux(DIMS)
        if bits is not None:
            quantize_blocks(network, bits)
        mx.eval(network.parameters())
        mx.random.seed(11)
        add_recipe_lora(network, Recipe(rank=4, alpha=alpha))
        adapters.append(dict(tree_flatten(network.trainable_parameters())))
    first = adapters[0]
    assert all(bool(mx.array_equal(first[name], other[name])) for other in adapters for name in first)


@pytest.mark.parametrize(("rank", "alpha"), [(4, None), (4, 4.0), (4, 1.0), (2, 16.0), (3, 1.0)])
def test_the_file_holds_the_update_that_was_trained(rank: int, alpha: float | None, tmp_path: Path) -> None:
    """The format knows no alpha: what a loader adds, x·A·B, is what training saw, alpha/rank · x·A·B."""
    mx.random.seed(3)
    network = Flux(DIMS)
    recipe = Recipe(rank=rank, alpha=alpha, modules=("single_blocks.1.*",))
    add_recipe_lora(network, recipe)
    network.update(tree_map(lambda array: mx.random.normal(array.shape), network.trainable_parameters()))
    assert save_adapter(tmp_path / "a.safetensors", network, rank) == 6
    saved = load_file(tmp_path / "a.safetensors")
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LoRALinear)}
    assert len(layers) == 3
    for name, layer in layers.items():
        x = mx.random.normal((3, layer.lora_a.shape[0]))
        trained = np.array(layer(x) - layer.linear(x))
        applied = np.array(x) @ saved[f"{name}.lora_a"] @ saved[f"{name}.lora_b"]
        assert np.abs(applied - trained).max() < 1e-4 * np.abs(trained).max()
        wanted = np.float32(recipe.scale) * np.array(layer.lora_b)
        assert np.array_equal(saved[f"{name}.lora_b"], wanted)
    assert {array.dtype for array in saved.values()} == {np.dtype(np.float32)}


def test_matrices_stay_float32_over_a_bfloat16_base() -> None:
    mx.random.seed(9)
    network = Flux(DIMS)
    network.set_dtype(mx.bfloat16)
    add_lora(network, 4)
    layer = next(module for _, module in network.named_modules() if isinstance(module, LoRALinear))
    layer.lora_b = mx.random.normal(layer.lora_b.shape)
    x = mx.random.normal((4, layer.lora_a.shape[0])).astype(mx.bfloat16)
    assert layer(x).dtype == mx.bfloat16
    assert (layer.lora_a.dtype, layer.lora_b.dtype) == (mx.float32, mx.float32)
    exact = layer.linear(x).astype(mx.float32) + x.astype(mx.float32) @ layer.lora_a @ layer.lora_b
    assert float(mx.abs(layer(x) - exact).max()) < 0.02 * float(mx.abs(exact).max())
