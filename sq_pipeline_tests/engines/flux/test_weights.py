"""Weights as they are published, read into the BFL-layout network: it computes, and learns, what mflux's does."""

import json
import math
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from sq_pipeline.adapters.form import AdapterUse, parts_of
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS, BaseModel
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.flux.weights import check_weights, dims_of, load_transformer, load_weights
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.mflux.flux_layers import layers_of
from sq_pipeline.engines.mflux.loader_targets import mapping_for
from sq_pipeline.engines.module_paths import get_module

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mflux.models.common.config.config import Config
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.weights.mapping.weight_mapper import WeightMapper
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mflux.models.flux.weights.flux_weight_mapping import FluxWeightMapping
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_flatten, tree_map

from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora, save_adapter
from sq_pipeline_tests.engines.flux.flux_files import bfl_arrays, diffusers_arrays, diffusers_shapes, write_diffusers

GRID = (4, 6)
RANK = 5


@dataclass(frozen=True)
class Size:
    """A FLUX.1 of reduced sizes: `base_model` for what adapters cover, `dims` for the network."""

    base_model: BaseModel
    dims: FluxDims


def size_of(name: str, hidden: int, double: int, single: int) -> Size:
    base_model = replace(BASE_MODELS[name], hidden_size=hidden, double_blocks=double, single_blocks=single)
    return Size(base_model, replace(dims_of(base_model), text_size=160, pooled_size=96))


# the second with guidance, another width and another depth
SIZES = {"256, 2+4": size_of("flux1-schnell", 256, 2, 4), "384, 1+3": size_of("flux1-dev", 384, 1, 3)}


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.param]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConfig, "precision", mx.float32)


@pytest.fixture(scope="module")
def places(size: Size, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights on disk: a snapshot with sharded diffusers files, and a BFL file."""
    root = tmp_path_factory.mktemp("weights")
    arrays = diffusers_arrays(size.dims, seed=size.dims.hidden_size)
    write_diffusers(root / "snapshot", arrays)
    save_file(bfl_arrays(size.dims, arrays), root / "flux.safetensors")
    return {"diffusers": root / "snapshot", "bfl": root / "flux.safetensors"}


def mflux_transformer(snapshot: Path, size: Size) -> Transformer:
    """mflux's transformer with the same files, through mflux's own mapping of their names."""
    dims = size.dims
    transformer = Transformer(mflux_config(size), dims.double_blocks, dims.single_blocks)
    mflux_build.shrink_transformer(transformer, dims.hidden_size)
    read: dict[str, mx.array] = {}
    for shard in sorted((snapshot / "transformer").glob("*.safetensors")):
        read |= mx.load(str(shard))
    mapped = WeightMapper.apply_mapping(read, FluxWeightMapping.get_transformer_mapping())
    names = {name for name, _ in tree_flatten(mapped)}
    assert names == {name for name, _ in tree_flatten(transformer.parameters())}
    assert len(names) == len(read)
    transformer.update(mapped)
    return transformer


def mflux_config(size: Size) -> ModelConfig:
    return ModelConfig.dev() if size.dims.takes_guidance else ModelConfig.schnell()


@dataclass(frozen=True)
class Inputs:
    """One prediction's inputs, the same for both networks."""

    config: Config
    latents: mx.array
    text: mx.array
    pooled: mx.array
    target: mx.array

    def ours(self, network: Flux, step: int) -> mx.array:
        guidance = mx.array([self.config.guidance]) if network.dims.takes_guidance else None
        times = self.config.scheduler.sigmas[step].reshape(1)
        return network(self.latents, self.text, self.pooled, times, GRID, guidance)

    def theirs(self, transformer: Transformer, step: int) -> mx.array:
        return transformer(step, self.config, self.latents, self.text, self.pooled)


def inputs_for(size: Size) -> Inputs:
    mx.random.seed(11)
    tokens = GRID[0] * GRID[1]
    shapes = ((1, tokens, 64), (1, 7, size.dims.text_size), (1, size.dims.pooled_size), (1, tokens, 64))
    config = Config(
        model_config=mflux_config(size), num_inference_steps=8, height=16 * GRID[0], width=16 * GRID[1], guidance=3.5
    )
    return Inputs(config, *(mx.random.normal(shape) for shape in shapes))


# --- values


@pytest.mark.parametrize("layout", ["diffusers", "bfl"])
def test_predictions_are_mflux_s(layout: str, size: Size, places: dict[str, Path]) -> None:
    network = load_transformer(places[layout], size.base_model, dims=size.dims, dtype=mx.float32)
    transformer = mflux_transformer(places["diffusers"], size)
    inputs = inputs_for(size)
    for step in (0, 3, 7):
        theirs = inputs.theirs(transformer, step)
        assert float(mx.abs(theirs).max()) > 0.5
        difference = float(mx.abs(inputs.ours(network, step) - theirs).max())
        assert difference <= 1e-4


def test_both_layouts_give_the_same_parameters(size: Size, places: dict[str, Path]) -> None:
    first, second = (
        dict(tree_flatten(load_transformer(place, size.base_model, dims=size.dims, dtype=mx.float32).parameters()))
        for place in places.values()
    )
    assert first.keys() == second.keys()
    assert all(bool(mx.array_equal(first[name], second[name])) for name in first)


# --- gradients


def cosine(first: mx.array, second: mx.array) -> float:
    a, b = (np.array(array, dtype=np.float64).ravel() for array in (first, second))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_adapter_gradients_are_mflux_s(size: Size, places: dict[str, Path], shipped: DataDir, tmp_path: Path) -> None:
    """Each matrix of a trained adapter, and each part of a fused one, is pushed the way mflux's would push it."""
    network = load_transformer(places["bfl"], size.base_model, dims=size.dims, dtype=mx.float32)
    transformer = mflux_transformer(places["diffusers"], size)
    inputs = inputs_for(size)
    mx.random.seed(3)
    assert add_lora(network, RANK) == size.base_model.adapter_modules
    adapter = tree_map(lambda array: 0.05 * mx.random.normal(array.shape), network.trainable_parameters())
    network.update(adapter)
    save_adapter(tmp_path / "mlx.safetensors", network, RANK)
    keymap = select_keymap(shipped.keymaps_root, "mflux", "0.24.0")
    remap_adapter(tmp_path / "mlx.safetensors", tmp_path / "mflux.safetensors", keymap, size.base_model)
    stack = AdapterStack(transformer, mapping_for(size.base_model))
    (applied,) = stack.use((AdapterUse(tmp_path / "mflux.safetensors", 1.0),))
    assert applied.is_whole

    transformer.freeze()
    layers = list(layers_of(size.base_model))
    for layer in layers:
        get_module(transformer, layer.path).unfreeze(recurse=False, keys=["lora_A", "lora_B"])

    def our_loss(model: Flux) -> mx.array:
        return ((inputs.ours(model, 2) - inputs.target) ** 2).mean()

    def their_loss(model: Transformer) -> mx.array:
        return ((inputs.theirs(model, 2) - inputs.target) ** 2).mean()

    loss, ours = value_and_grad(network, our_loss)(network)
    reference, theirs = value_and_grad(transformer, their_loss)(transformer)
    assert float(mx.abs(loss - reference)) < 1e-5
    our_gradients, their_gradients = dict(tree_flatten(ours)), dict(tree_flatten(theirs))
    assert len(our_gradients) == size.base_model.adapter_tensors
    assert len(their_gradients) == 2 * size.base_model.patched_layers

    cosines: dict[str, float] = {}
    shared: dict[str, list[mx.array]] = {}
    for layer in layers:
        rows = slice(*layer.rows)
        up = our_gradients[f"{layer.module}.lora_b"][:, rows]
        cosines[f"{layer.slot}.lora_b"] = cosine(up, their_gradients[f"{layer.path}.lora_B"])
        shared.setdefault(layer.module, []).append(their_gradients[f"{layer.path}.lora_A"])
    for module, downs in shared.items():
        # q, k and v share one down matrix here, and have a copy each in mflux
        assert len(downs) == max(1, len(parts_of(module)))
        total = sum(downs[1:], start=downs[0])
        down = our_gradients[f"{module}.lora_a"]
        cosines[f"{module}.lora_a"] = cosine(down, total)
        assert float(mx.linalg.norm(down)) == pytest.approx(float(mx.linalg.norm(total)), rel=1e-3)
    assert {name: value for name, value in cosines.items() if not value >= 0.9999} == {}


# --- numbers and memory


def write_header_only(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A bfloat16 file of full size whose data is a hole: it takes no room on the disk."""
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + at)


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [("flux1-dev", 1160, 11_901_408_320), ("flux1-schnell", 1156, 11_891_178_560)],
)
def test_flux_at_its_real_size_is_checked_without_memory(
    name: str, tensors: int, parameters: int, tmp_path: Path
) -> None:
    base_model = BASE_MODELS[name]
    dims = dims_of(base_model)
    write_header_only(tmp_path / "model.safetensors", diffusers_shapes(dims))
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    weights = check_weights(tmp_path, dims, base_model.how_to_get)
    assert mx.get_peak_memory() - before < 1 << 20
    assert (weights.layout, len(weights.files.tensors)) == ("diffusers", tensors)
    assert weights.byte_count == 2 * parameters


def test_one_parameter_is_read_at_a_time(size: Size, places: dict[str, Path]) -> None:
    """No more is held than the weights, and one parameter as it is in the file, fused, and in its dtype."""
    weights = check_weights(places["diffusers"], size.dims, "")
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    network = load_weights(weights, size.dims)
    parameters = [array for _, array in tree_flatten(network.parameters())]
    held = sum(array.nbytes for array in parameters)
    assert held == weights.byte_count // 2
    assert mx.get_active_memory() - before < 1.02 * held
    largest = 2 * max(array.nbytes for array in parameters)
    assert mx.get_peak_memory() - before < held + 2 * largest


def test_bfloat16_is_kept_through_the_network_and_its_adapter(size: Size, places: dict[str, Path]) -> None:
    """bfloat16 unless asked otherwise; the adapter stays float32 and does not widen the stream."""
    network = load_transformer(places["bfl"], size.base_model, dims=size.dims)
    exact = load_transformer(places["bfl"], size.base_model, dims=size.dims, dtype=mx.float32)
    assert {array.dtype for _, array in tree_flatten(network.parameters())} == {mx.bfloat16}
    assert not tree_flatten(network.trainable_parameters())
    inputs = inputs_for(size)
    rounded = replace(
        inputs, **{name: getattr(inputs, name).astype(mx.bfloat16) for name in ("latents", "text", "pooled")}
    )
    add_lora(network, RANK)
    prediction = rounded.ours(network, 3)
    assert prediction.dtype == mx.bfloat16
    assert {array.dtype for _, array in tree_flatten(network.trainable_parameters())} == {mx.float32}
    reference = inputs.ours(exact, 3)
    assert cosine(prediction.astype(mx.float32), reference) > 0.999


def test_shards_without_an_index_are_read_too(size: Size, places: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    folder.mkdir()
    for shard in (places["diffusers"] / "transformer").glob("*.safetensors"):
        (folder / shard.name).symlink_to(shard)
    first, second = (
        dict(tree_flatten(load_transformer(place, size.base_model, dims=size.dims).parameters()))
        for place in (places["diffusers"], folder)
    )
    assert all(bool(mx.array_equal(first[name], second[name])) for name in first)


def test_a_file_that_goes_after_its_check_is_a_fault(size: Size, places: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "flux.safetensors"
    copy.write_bytes(places["bfl"].read_bytes())
    weights = check_weights(copy, size.dims, "")
    copy.unlink()
    with pytest.raises(BaseModelError, match=r"flux\.safetensors: cannot be read"):
        load_weights(weights, size.dims)
