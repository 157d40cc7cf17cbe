"""Names of Z-Image and FLUX.2 adapters: what they stand for, and every fault of a file at once."""

import numpy as np
import pytest

from sq_pipeline.adapters.form import FUSED_PARTS
from sq_pipeline.adapters.keymap_files import family_keymap
from sq_pipeline.adapters.reading import Reading, ReadOptions, read_form
from sq_pipeline.adapters.slots import find_slot, slot_of_layer, split_slot
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.base_models import Family


@pytest.mark.parametrize(
    ("family", "name", "slot"),
    [
        ("z-image", "diffusion_model.layers.12.attention.to_q", ("layers.12.attention.qkv", "to_q")),
        ("z-image", "transformer.noise_refiner.1.attention.out", ("noise_refiner.1.attention.to_out.0", "")),
        ("z-image", "diffusion_model.layers.3.attention.qkv", ("layers.3.attention.qkv", "")),
        ("z-image", "lora_unet_layers_3_attention_to_out_0", ("layers.3.attention.to_out.0", "")),
        ("z-image", "lora_unet_context_refiner_0_feed_forward_w2", ("context_refiner.0.feed_forward.w2", "")),
        ("z-image", "diffusion_model.t_embedder.mlp.2", ("t_embedder.linear2", "")),
        (
            "z-image",
            "diffusion_model.all_final_layer.2-1.adaLN_modulation.1",
            ("all_final_layer.2-1.adaLN_modulation.0", ""),
        ),
        ("z-image", "layers.3.attention.to_x", None),
        ("z-image", "layers.٣.attention.to_q\n", None),
        ("z-image", "transformer.transformer_blocks.0.attn.to_q", None),
        (
            "flux2",
            "transformer.transformer_blocks.4.attn.add_k_proj",
            ("transformer_blocks.4.attn.add_qkv", "add_k_proj"),
        ),
        ("flux2", "lora_unet_double_blocks_2_txt_attn_qkv", ("transformer_blocks.2.attn.add_qkv", "")),
        (
            "flux2",
            "diffusion_model.single_blocks.19.linear1",
            ("single_transformer_blocks.19.attn.to_qkv_mlp_proj", ""),
        ),
        ("flux2", "base_model.model.final_layer.linear", ("proj_out", "")),
        ("flux2", "diffusion_model.layers.0.attention.to_q", None),
    ],
)
def test_a_name_stands_for_one_layer(family: Family, name: str, slot: tuple[str, str] | None) -> None:
    assert find_slot(f"{name}.lora_A.weight", [family_keymap(family)]) == slot


@pytest.mark.parametrize("kind", FUSED_PARTS)
def test_a_layer_s_slot_is_its_part_of_the_fused_module(kind: str) -> None:
    above = kind.partition(".")[0]
    for part, _ in FUSED_PARTS[kind]:
        module, found = slot_of_layer(f"blocks.7.{above}.{part}")
        assert (module, found) == (f"blocks.7.{kind}", part)
        assert split_slot(f"{module}.{found}") == (module, part)
    assert slot_of_layer(f"blocks.7.{above}.to_out") == (f"blocks.7.{above}.to_out", "")


def _tensors(*entries: tuple[str, tuple[int, ...]]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(name, "F32", shape) for name, shape in entries}


def _read(tensors: dict[str, TensorInfo], alphas: dict[str, float]) -> Reading:
    options = ReadOptions(missing_alpha="rank")
    return read_form(tensors, {}, alphas, family_keymap("z-image"), "a.safetensors", options)


_Q = "diffusion_model.layers.0.attention.to_q"


@pytest.mark.parametrize(
    ("tensors", "faults"),
    [
        ({}, ["holds no tensors"]),
        (
            _tensors((f"{_Q}.lora_A.weight", (2, 6))),
            ["layers.0.attention.qkv.to_q.lora_b: missing: its partner is there"],
        ),
        (
            _tensors((f"{_Q}.lora_A.weight", (2, 6)), (f"{_Q}.lora_B.weight", (6, 3)), ("a.b.lora_A.weight", (2, 6))),
            ["a.b.lora_A.weight: is no layer's of a Z-Image LoRA", "the ranks 2 and 3 differ"],
        ),
        (
            _tensors(
                (f"{_Q}.lora_A.weight", (2, 6)), (f"{_Q}.lora_B.weight", (6, 2)), (f"{_Q}.lora_up.weight", (6, 2))
            ),
            [f"says the same as {_Q}.lora_B.weight"],
        ),
        (_tensors((f"{_Q}.lora_A.weight", (2, 6, 1)), (f"{_Q}.lora_B.weight", (6, 2))), ["not a filled matrix"]),
        (
            _tensors(
                *((f"{_Q}.lora_{x}.weight", (6, 6)) for x in "AB"),
                *((f"diffusion_model.layers.0.attention.qkv.lora_{x}.weight", (6, 6)) for x in "AB"),
            ),
            ["is there whole and in parts"],
        ),
        (_tensors((f"{_Q}.lokr_w1", (6, 6))), ["is LoKr's"]),
        (
            _tensors(
                ("layers.0.attention.qkv.lora_A.weight", (2, 6)), ("layers.0.attention.qkv.lora_B.weight", (7, 2))
            ),
            ["its 7 outputs cannot be cut in 3 equal parts"],
        ),
        (_tensors(("double_blocks.0.img_attn.qkv.lora_a", (6, 2))), ["is no layer's of a Z-Image LoRA"]),
    ],
)
def test_every_fault_of_a_file_is_told(tensors: dict[str, TensorInfo], faults: list[str]) -> None:
    reading = _read(tensors, {})
    told = [str(fault) for fault in reading.faults]
    assert len(told) == len(faults)
    assert all(any(part in line for line in told) for part in faults), told


def test_an_alpha_scales_and_none_means_the_rank() -> None:
    names = _tensors((f"{_Q}.lora_A.weight", (4, 6)), (f"{_Q}.lora_B.weight", (6, 4)), (f"{_Q}.alpha", ()))
    with_alpha = _read(names, {f"{_Q}.alpha": 2.0})
    del names[f"{_Q}.alpha"]
    without = _read(names, {})
    scales = [next(iter(reading.patches.values())).scale for reading in (with_alpha, without)]
    assert np.allclose(scales, [0.5, 1.0])
