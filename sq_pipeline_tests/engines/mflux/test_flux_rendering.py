"""`flux1-dev` rendered from files named as they are published, at reduced widths, through the renderer's own path.

Only what mflux's constructors write into code is set again (`mflux_build.shrink_transformer`); loading, tokenizers,
encoders, `generate_image` and the adapters' loader are the ones that real weights go through.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS, RENDER_BITS, RenderBits, quantized
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.encoder_tensors import EncoderDims
from sq_pipeline.engines.flux.training_parts import open_flux_parts
from sq_pipeline.engines.flux.weights import dims_of
from sq_pipeline.engines.mflux import renderer as mflux_renderer
from sq_pipeline.engines.mflux.renderer import MfluxRenderer
from sq_pipeline.pictures.ports import RenderRequest

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.common.config.config import Config
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.flux import flux_initializer
from mflux.models.flux.latent_creator.flux_latent_creator import FluxLatentCreator
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mlx.utils import tree_map

from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora, save_adapter
from sq_pipeline_tests.engines.flux.encoder_folders import SMALL, SMALL_QUANTIZABLE, write_encoders
from sq_pipeline_tests.engines.flux.flux_files import diffusers_arrays, write_diffusers

HIDDEN, RANK = 128, 3
TOKENS = 40  # in place of 512, with which T5's attention alone takes half a minute on two cores
DEV = replace(BASE_MODELS["flux1-dev"], hidden_size=HIDDEN, double_blocks=1, single_blocks=2, t5_token_budget=TOKENS)
DIMS = replace(dims_of(DEV), text_size=SMALL.text_size, pooled_size=SMALL.pooled_size)
REQUEST = RenderRequest("flux1-dev", "a mill, the last water", 7, 3, 48, 32, 3.5)


def small_transformer(*arguments: Any, **options: Any) -> Transformer:
    transformer = Transformer(*arguments, **options)
    mflux_build.shrink_transformer(transformer, HIDDEN)
    return transformer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    data = DataDir(tmp_path_factory.mktemp("data"))
    folder = write_encoders(data.models_root / "flux1-dev")
    write_diffusers(folder, diffusers_arrays(DIMS, seed=3))
    return data


@pytest.fixture(scope="module")
def renderer(data: DataDir) -> Iterator[MfluxRenderer]:
    with pytest.MonkeyPatch.context() as patch:
        models = {model.name: model for model in (DEV, *(quantized(DEV, bits) for bits in RENDER_BITS))}
        patch.setattr(mflux_renderer, "resolve_base_model", models.__getitem__)
        patch.setattr(ModelConfig.dev(), "max_sequence_length", TOKENS)
        patch.setattr(flux_initializer, "Transformer", small_transformer)
        yield MfluxRenderer(data)


def test_the_same_files_give_the_picture_that_a_training_s_networks_give(
    renderer: MfluxRenderer, data: DataDir
) -> None:
    """What is trained over is what is rendered: text, steps and decoding of one picture, each through our side."""
    rendered = renderer.render(REQUEST)
    assert rendered.pixels.shape == (32, 48, 3)
    assert rendered.pixels.std() > 5
    parts = open_flux_parts(DEV, data, mx.float32, dims=DIMS, encoder_dims=SMALL)
    text, pooled = parts.encoders.encode_captions([REQUEST.positive_prompt])
    network = parts.load_network(None)
    config = Config(model_config=ModelConfig.dev(), num_inference_steps=3, height=32, width=48, guidance=3.5)
    tokens = FluxLatentCreator.create_noise(REQUEST.seed, 32, 48)
    sigmas = config.scheduler.sigmas
    for step in range(3):
        velocity = network(tokens, text, pooled, sigmas[step].reshape(1), (2, 3), mx.array([3.5]))
        tokens = tokens + (sigmas[step + 1] - sigmas[step]) * velocity
    (ours,) = parts.encoders.decode(tokens, (2, 3))
    difference = np.abs(ours.astype(int) - rendered.pixels.astype(int))
    assert difference.max() <= 1  # rounding to whole steps
    other = renderer.render(replace(REQUEST, positive_prompt="dust")).pixels
    assert np.abs(other.astype(int) - rendered.pixels.astype(int)).max() > 10
    assert renderer.model_loads == 1


def write_adapter(data: DataDir, shipped: DataDir, folder: Path, encoder_dims: EncoderDims = SMALL) -> Path:
    """A remapped adapter of random numbers over all of the model."""
    dims = replace(DIMS, text_size=encoder_dims.text_size, pooled_size=encoder_dims.pooled_size)
    parts = open_flux_parts(DEV, data, mx.float32, dims=dims, encoder_dims=encoder_dims)
    network = parts.load_network(None)
    add_lora(network, RANK)
    network.update(tree_map(lambda array: 0.1 * mx.random.normal(array.shape), network.trainable_parameters()))
    save_adapter(folder / "mlx.safetensors", network, RANK)
    keymap = select_keymap(shipped.keymaps_root, "mflux", "0.24.0")
    remap_adapter(folder / "mlx.safetensors", folder / "mflux.safetensors", keymap, DEV)
    return folder / "mflux.safetensors"


def test_an_adapter_is_applied_whole(renderer: MfluxRenderer, data: DataDir, shipped: DataDir, tmp_path: Path) -> None:
    use = AdapterUse(write_adapter(data, shipped, tmp_path), 1.0)
    plain = renderer.render(REQUEST).pixels
    adapted = renderer.render(replace(REQUEST, adapters=(use,)))
    (applied,) = adapted.applied
    assert applied.is_whole
    assert applied.layers_patched == DEV.patched_layers
    assert np.abs(adapted.pixels.astype(int) - plain.astype(int)).max() > 10
    assert np.array_equal(renderer.render(REQUEST).pixels, plain)


@pytest.fixture(scope="module")
def quantizable(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The same names at widths that MLX's groups of 64 divide."""
    data, encoders = DataDir(tmp_path_factory.mktemp("quantizable")), SMALL_QUANTIZABLE
    folder = write_encoders(data.models_root / "flux1-dev", encoders)
    dims = replace(DIMS, text_size=encoders.text_size, pooled_size=encoders.pooled_size)
    write_diffusers(folder, diffusers_arrays(dims, seed=3))
    return data


@pytest.fixture(scope="module")
def plain_pixels(renderer: MfluxRenderer, quantizable: DataDir) -> np.ndarray:
    return MfluxRenderer(quantizable).render(REQUEST).pixels.astype(int)


@pytest.mark.parametrize("bits", RENDER_BITS)
def test_the_same_files_are_rendered_quantized(
    bits: RenderBits, plain_pixels: np.ndarray, quantizable: DataDir, shipped: DataDir, tmp_path: Path
) -> None:
    """All four networks at once, by mflux's own loading; an adapter is put on and taken off as ever."""
    renderer = MfluxRenderer(quantizable)
    request = replace(REQUEST, base_model=f"flux1-dev-{bits}bit")
    rough = renderer.render(request).pixels
    assert 0 < np.abs(rough - plain_pixels).mean() < {8: 4, 4: 12}[bits]  # of 255, deviation 66
    use = AdapterUse(write_adapter(quantizable, shipped, tmp_path, SMALL_QUANTIZABLE), 1.0)
    adapted = renderer.render(replace(request, adapters=(use,)))
    (applied,) = adapted.applied
    assert (applied.is_whole, applied.layers_patched) == (True, DEV.patched_layers)
    assert np.abs(adapted.pixels.astype(int) - rough).max() > 10
    assert np.array_equal(renderer.render(request).pixels, rough)
    assert renderer.model_loads == 1


def test_widths_that_cannot_be_quantized_are_told(renderer: MfluxRenderer) -> None:
    with pytest.raises(BaseModelError, match=r"cannot be quantized: .*group size.*use flux1-dev, or"):
        renderer.render(replace(REQUEST, base_model="flux1-dev-8bit"))
