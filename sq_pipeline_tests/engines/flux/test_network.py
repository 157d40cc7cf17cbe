"""The BFL-layout network, which is trained, computes what mflux's transformer, which renders, computes."""

import pytest

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline.engines.flux.activations import gelu, gelu_approx
from sq_pipeline.engines.flux.mflux_names import to_mflux_weights
from sq_pipeline.engines.flux.network import Flux, FluxDims

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mflux.models.common.config.config import Config
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mlx import nn
from mlx.utils import tree_flatten, tree_map

from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.engines.tiny_flux import mflux_build, model
from sq_pipeline.engines.trainers.mlx.lora_layers import adapter_tensors, add_lora


def make_random(network: nn.Module, seed: int) -> None:
    """Weights that no layer's start value hides: norms and biases are random too."""
    mx.random.seed(seed)
    network.update(tree_map(lambda array: mx.random.normal(array.shape) * 0.08, network.parameters()))


def make_mflux_twin(network: Flux) -> Transformer:
    """mflux's transformer with the weights of `network`."""
    dims = network.dims
    twin = Transformer(mflux_build.model_config(), dims.double_blocks, dims.single_blocks)
    mflux_build.shrink_transformer(twin, dims.hidden_size)
    weights = to_mflux_weights(dict(tree_flatten(network.parameters())), dims.hidden_size)
    twin.load_weights(list(weights.items()), strict=False)
    return twin


def test_prediction_equals_mflux() -> None:
    network = Flux(model.DIMS)
    make_random(network, 1)
    config = Config(model_config=mflux_build.model_config(), num_inference_steps=8, height=96, width=128)
    latents, text, pooled = mx.random.normal((1, 48, 64)), mx.random.normal((1, 9, 128)), mx.random.normal((1, 256))
    use_float32()
    twin = make_mflux_twin(network)
    for step in (0, 3, 7):
        theirs = twin(step, config, latents, text, pooled)
        ours = network(latents, text, pooled, config.scheduler.sigmas[step].reshape(1), (6, 8))
        scale = float(mx.abs(theirs).max())
        assert scale > 0.1
        assert float(mx.abs(ours - theirs).max()) < 1e-4 * scale


def test_every_weight_has_its_place_in_mflux() -> None:
    network = Flux(model.DIMS)
    twin = make_mflux_twin(network)
    named = {name for name, _ in tree_flatten(twin.parameters())}
    renamed = to_mflux_weights(dict(tree_flatten(network.parameters())), model.DIMS.hidden_size)
    assert set(renamed) == named


@pytest.mark.parametrize("name", ["tiny-flux", "flux1-dev"])
def test_adapter_covers_every_linear_layer_of_the_blocks(name: str) -> None:
    """Names and counts of mlx-examples: 26 kinds, 608 tensors over all of FLUX.1-dev; no array is evaluated."""
    base_model = BASE_MODELS[name]
    dims = FluxDims(base_model.hidden_size, base_model.double_blocks, base_model.single_blocks, 128, 256)
    network = Flux(dims)
    assert add_lora(network, 4) == base_model.adapter_modules
    tensors = adapter_tensors(network)
    wanted = {
        key: shape
        for module, inputs, outputs in modules_of(base_model)
        for key, shape in ((f"{module}.lora_a", (inputs, 4)), (f"{module}.lora_b", (4, outputs)))
    }
    assert {key: array.shape for key, array in tensors.items()} == wanted
    assert len(tensors) == {"tiny-flux": 64, "flux1-dev": 608}[name]


def test_a_new_adapter_changes_nothing() -> None:
    """`lora_b` starts at zero."""
    network = Flux(model.DIMS)
    make_random(network, 2)
    arguments = (mx.random.normal((1, 48, 64)), mx.random.normal((1, 5, 128)), mx.random.normal((1, 256)))
    before = network(*arguments, mx.array([0.5]), (6, 8))
    add_lora(network, 4)
    assert mx.array_equal(network(*arguments, mx.array([0.5]), (6, 8)), before)


@pytest.mark.parametrize(("fast", "exact"), [(gelu, nn.gelu), (gelu_approx, nn.gelu_approx)])
def test_fast_activations_stay_close_in_value_and_slope(fast, exact) -> None:
    x = mx.concatenate([mx.linspace(-60, 60, 4001), mx.linspace(-6, 6, 4001)])
    value, slope = mx.vjp(lambda a: fast(a, is_fast=True), [x], [mx.ones_like(x)])
    true_value, true_slope = mx.vjp(exact, [x], [mx.ones_like(x)])
    assert np.abs(np.array(value[0] - true_value[0])).max() < 4e-4
    assert np.abs(np.array(slope[0] - true_slope[0])).max() < 2e-3


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="48 latent tokens"):
        Flux(model.DIMS)(mx.zeros((1, 48, 64)), mx.zeros((1, 5, 128)), mx.zeros((1, 256)), mx.array([0.5]), (6, 9))
