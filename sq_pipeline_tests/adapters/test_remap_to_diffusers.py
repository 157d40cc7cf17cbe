"""Tests of the diffusers target: fused modules cut in parts, and mflux's own loader as the judge of the names.

What all targets share is in test_remap.
"""

import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.flux.model.flux_transformer.transformer import Transformer
from mlx.utils import tree_flatten, tree_map

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.adapters.keymap_files import load_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.tiny_flux.mflux_build import shrink_transformer, small_lora_mapping
from sq_pipeline_tests.adapters.files import (
    FULL,
    KEYMAPS,
    SMALL,
    Tensors,
    load,
    load_bits,
    metadata_of,
    mlx_tensors,
    save,
    to_bits,
)

TO_DIFFUSERS = load_keymap(KEYMAPS / "mlx-to-diffusers.yaml")

PARTS = {
    # fused module: its parts in diffusers, with their share of the outputs
    "double_blocks.0.img_attn.qkv": {"attn.to_q": 1, "attn.to_k": 1, "attn.to_v": 1},
    "double_blocks.0.txt_attn.qkv": {"attn.add_q_proj": 1, "attn.add_k_proj": 1, "attn.add_v_proj": 1},
    "double_blocks.0.txt_mlp.layers.0": {"ff_context.net.0.proj": 1},
    "single_blocks.0.linear1": {"attn.to_q": 1, "attn.to_k": 1, "attn.to_v": 1, "proj_mlp": 4},
}


@given(st.sampled_from(sorted(PARTS)), st.sampled_from(["F32", "F16", "BF16"]), st.integers(1, 8), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_parts_share_the_down_matrix_and_put_together_give_the_up_matrix(
    module: str, dtype: str, rank: int, width: int
):
    parts = PARTS[module]
    random = np.random.default_rng(rank * 10 + width)
    down = to_bits(random.standard_normal((width, rank)), dtype)
    up = to_bits(random.standard_normal((rank, width * sum(parts.values()))), dtype)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
        save(source, {f"{module}.lora_a": (dtype, down), f"{module}.lora_b": (dtype, up)})
        remap_adapter(source, target, TO_DIFFUSERS)
        written = load_bits(target)
    stem = (
        "transformer.transformer_blocks.0" if module.startswith("double") else "transformer.single_transformer_blocks.0"
    )
    ups = [written.pop(f"{stem}.{part}.lora_B.weight") for part in parts]
    for part in parts:
        kept_dtype, kept = written.pop(f"{stem}.{part}.lora_A.weight")
        assert kept_dtype == dtype
        np.testing.assert_array_equal(kept.T, down)
    assert written == {}
    assert [dtype for dtype, _ in ups] == [dtype] * len(parts)
    assert [bits.shape[0] for _, bits in ups] == [share * width for share in parts.values()]
    np.testing.assert_array_equal(np.concatenate([bits for _, bits in ups]).T, up)


def test_the_full_layout_of_flux1_dev_becomes_one_pair_for_each_layer_that_mflux_patches(tmp_path: Path):
    source = save(tmp_path / "in.safetensors", mlx_tensors(FULL, dtype="BF16"))
    result = remap_adapter(source, tmp_path / "out.safetensors", TO_DIFFUSERS, FULL)
    assert (result.tensors, result.modules) == (2 * FULL.patched_layers, 304)
    assert len(load(tmp_path / "out.safetensors")) == 988
    assert metadata_of(tmp_path / "out.safetensors")["format"] == "diffusers"
    report = report_adapter(tmp_path / "out.safetensors", base_models=(FULL,)).as_json()
    assert (report["dialect"], report["modules"], report["faults"]) == ("diffusers", 494, [])


def test_the_update_keeps_its_norm(tmp_path: Path):
    source = save(tmp_path / "in.safetensors", mlx_tensors(SMALL, rank=3))
    remap_adapter(source, tmp_path / "out.safetensors", TO_DIFFUSERS, SMALL)
    before, after = (report_adapter(path).as_json() for path in (source, tmp_path / "out.safetensors"))
    assert after["update_norm"] == pytest.approx(before["update_norm"], rel=1e-6)


def test_outputs_that_cannot_be_cut_are_named_and_nothing_is_written(tmp_path: Path):
    tensors: Tensors = {**mlx_tensors(SMALL)}
    tensors["double_blocks.0.img_attn.qkv.lora_b"] = ("F32", to_bits(np.ones((2, 13))))
    tensors["single_blocks.0.linear1.lora_b"] = ("F32", to_bits(np.ones((2, 27))))
    source = save(tmp_path / "in.safetensors", tensors)
    with pytest.raises(AdapterError) as caught:
        remap_adapter(source, tmp_path / "out.safetensors", TO_DIFFUSERS)
    lines = {str(fault).removeprefix(f"{source}: ") for fault in caught.value.faults}
    hint = "check the base model, and mlx-to-diffusers"
    assert lines == {
        f"double_blocks.0.img_attn.qkv.lora_b: misshapen: its 13 outputs cannot be cut in 3 equal parts; {hint}",
        f"single_blocks.0.linear1.lora_b: misshapen: its 27 outputs cannot be cut in 7 equal parts; {hint}",
    }
    assert list(tmp_path.iterdir()) == [source]


def _narrow(weight: mx.array) -> mx.array:
    """Zeros as large as `weight` is in a transformer of SMALL's width; FLUX.1's is 3072."""
    return mx.zeros([size // 3072 * SMALL.hidden_size if size % 3072 == 0 else size for size in weight.shape])


def test_mflux_applies_the_same_update_from_either_target(tmp_path: Path):
    """mflux cuts the fused names of its own target itself: both files must patch the same layers, bit by bit."""
    source = save(tmp_path / "in.safetensors", mlx_tensors(SMALL, rank=3))
    patched: list[dict[str, np.ndarray]] = []
    for target in ("mflux", "diffusers"):
        file = tmp_path / f"{target}.safetensors"
        remap_adapter(source, file, load_keymap(KEYMAPS / f"mlx-to-{target}.yaml"), SMALL)
        transformer = Transformer(ModelConfig.schnell(), SMALL.double_blocks, SMALL.single_blocks)
        shrink_transformer(transformer, SMALL.hidden_size)
        transformer.update(tree_map(_narrow, transformer.parameters()))
        stack = AdapterStack(transformer, small_lora_mapping(SMALL.hidden_size))
        (applied,) = stack.use((AdapterUse(file, 1.0),))
        assert applied.is_whole
        assert applied.layers_patched == SMALL.patched_layers
        weights = dict(tree_flatten(transformer.parameters()))
        patched.append(
            {name: np.array(value) for name, value in weights.items() if name.endswith(("lora_A", "lora_B"))}
        )
    assert patched[0].keys() == patched[1].keys()
    assert len(patched[0]) == 2 * SMALL.patched_layers
    for name, values in patched[0].items():
        np.testing.assert_array_equal(values, patched[1][name])
