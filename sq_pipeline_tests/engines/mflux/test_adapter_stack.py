"""Adapters on mflux's transformer: what was trained is what is applied, all of it, and it comes off without a trace."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import RenderError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
import numpy as np
from mflux.models.common.config.config import Config
from mlx.utils import tree_flatten

from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.engines.tiny_flux import mflux_build, model
from sq_pipeline.engines.trainers.mlx.lora_layers import add_lora, save_adapter
from sq_pipeline_tests.engines.flux.test_network import make_mflux_twin, make_random

HIDDEN = model.DIMS.hidden_size


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flux, Path]:
    """A network with an adapter whose both halves are random, and the adapter as mlx-examples writes it."""
    network = Flux(model.DIMS)
    make_random(network, 5)
    add_lora(network, 6)
    make_random(network, 5)
    path = tmp_path_factory.mktemp("adapter") / "mlx.safetensors"
    save_adapter(path, network, 6)
    return network, path


@pytest.fixture
def remapped(trained: tuple[Flux, Path], shipped: DataDir, tmp_path: Path) -> Path:
    target = tmp_path / "mflux.safetensors"
    keymap = select_keymap(shipped.keymaps_root, "mflux", "0.24.0")
    remap_adapter(trained[1], target, keymap, BASE_MODELS["tiny-flux"])
    return target


def bare(network: Flux) -> Flux:
    """The same network without its adapter."""
    plain = Flux(model.DIMS)
    weights = {
        name.replace(".linear.weight", ".weight").replace(".linear.bias", ".bias"): array
        for name, array in tree_flatten(network.parameters())
        if ".lora_" not in name
    }
    # the final layer's own module is called `linear`
    weights = {
        name.replace("final_layer.", "final_layer.linear.")
        if name in ("final_layer.weight", "final_layer.bias")
        else name: array
        for name, array in weights.items()
    }
    plain.load_weights(list(weights.items()))
    return plain


def test_what_was_trained_is_what_is_applied(trained: tuple[Flux, Path], remapped: Path) -> None:
    """The trained network and mflux with the remapped file predict the same."""
    network, _ = trained
    use_float32()
    twin = make_mflux_twin(bare(network))
    config = Config(model_config=mflux_build.model_config(), num_inference_steps=8, height=96, width=128)
    latents, text, pooled = mx.random.normal((1, 48, 64)), mx.random.normal((1, 9, 128)), mx.random.normal((1, 256))
    ours = network(latents, text, pooled, config.scheduler.sigmas[2].reshape(1), (6, 8))
    without = twin(2, config, latents, text, pooled)
    stack = AdapterStack(twin, mflux_build.small_lora_mapping(HIDDEN))
    (applied,) = stack.use((AdapterUse(remapped, 1.0),))
    theirs = twin(2, config, latents, text, pooled)
    scale = float(mx.abs(ours).max())
    assert float(mx.abs(theirs - ours).max()) < 2e-4 * scale
    assert float(mx.abs(theirs - without).max()) > 0.05 * scale
    assert (applied.keys_matched, applied.keys_total) == (64, 64)
    assert (applied.layers_patched, applied.layers_expected) == (52, 52)


def test_taking_off_leaves_no_trace(trained: tuple[Flux, Path], remapped: Path) -> None:
    twin = make_mflux_twin(bare(trained[0]))
    before = {name: np.array(array) for name, array in tree_flatten(twin.parameters())}
    stack = AdapterStack(twin, mflux_build.small_lora_mapping(HIDDEN))
    for lora_scale in (0.3, 1.0, 0.7, 1.0):
        stack.use((AdapterUse(remapped, lora_scale),))
    stack.use(())
    after = dict(tree_flatten(twin.parameters()))
    assert after.keys() == before.keys()
    assert all(np.array_equal(np.array(array), before[name]) for name, array in after.items())


def test_two_adapters_add_up(trained: tuple[Flux, Path], remapped: Path) -> None:
    """One file at scale 1 is the same file twice at a half."""
    use_float32()
    twin = make_mflux_twin(bare(trained[0]))
    config = Config(model_config=mflux_build.model_config(), num_inference_steps=8, height=96, width=128)
    latents, text, pooled = mx.random.normal((1, 48, 64)), mx.random.normal((1, 9, 128)), mx.random.normal((1, 256))
    stack = AdapterStack(twin, mflux_build.small_lora_mapping(HIDDEN))
    stack.use((AdapterUse(remapped, 1.0),))
    once = twin(2, config, latents, text, pooled)
    copy = remapped.with_name("copy.safetensors")
    copy.write_bytes(remapped.read_bytes())
    stack.use((AdapterUse(remapped, 0.5), AdapterUse(copy, 0.5)))
    assert float(mx.abs(twin(2, config, latents, text, pooled) - once).max()) < 1e-4 * float(mx.abs(once).max())


def _rename_one(tensors: dict[str, np.ndarray]) -> None:
    tensors["lora_unet_double_blocks_0_img_attn_qkw.lora_down.weight"] = tensors.pop(
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"
    )


def _other_block(tensors: dict[str, np.ndarray]) -> None:
    for part in ("down", "up"):
        key = f"lora_unet_double_blocks_0_img_attn_proj.lora_{part}.weight"
        tensors[key.replace("_0_", "_7_")] = tensors.pop(key)


def _half(tensors: dict[str, np.ndarray]) -> None:
    del tensors["lora_unet_single_blocks_2_linear2.lora_up.weight"]


def _wrong_width(tensors: dict[str, np.ndarray]) -> None:
    key = "lora_unet_double_blocks_1_img_attn_proj.lora_down.weight"
    tensors[key] = np.ascontiguousarray(tensors[key][:, :100])


def _no_match(tensors: dict[str, np.ndarray]) -> None:
    renamed = {f"other.{key}": value for key, value in tensors.items()}
    tensors.clear()
    tensors.update(renamed)


@pytest.mark.parametrize("spoil", [_rename_one, _other_block, _half, _wrong_width, _no_match])
def test_an_adapter_that_is_not_applied_whole_is_an_error(
    spoil, trained: tuple[Flux, Path], remapped: Path, tmp_path: Path
) -> None:
    """What mflux only warns about, or says nothing of, is an error here, and nothing stays on."""
    tensors = load_file(remapped)
    spoil(tensors)
    path = tmp_path / "spoilt.safetensors"
    save_file(tensors, path)
    twin = make_mflux_twin(bare(trained[0]))
    stack = AdapterStack(twin, mflux_build.small_lora_mapping(HIDDEN))
    with pytest.raises(
        RenderError, match=r"spoilt\.safetensors: (only \d+ of \d+ keys|mflux did not apply it|.* the adapter has 100)"
    ):
        stack.use((AdapterUse(path, 1.0),))
    assert not [name for name, _ in tree_flatten(twin.parameters()) if "lora" in name]


def test_a_missing_file_is_an_error(trained: tuple[Flux, Path], tmp_path: Path) -> None:
    stack = AdapterStack(make_mflux_twin(bare(trained[0])), mflux_build.small_lora_mapping(HIDDEN))
    with pytest.raises(RenderError, match="mflux did not apply it"):
        stack.use((AdapterUse(tmp_path / "none.safetensors", 1.0),))
