"""Tests of the builders: each dialect's names and shapes as its tools write them, and one update in all of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from sq_pipeline_tests.adapters.files import SMALL, load_bits, metadata_of
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Recipe
from sq_pipeline_tests.loaders.matrix import relative_error

# dialect: tensors of a whole adapter without alphas, and some of them with their shapes at rank 3 and hidden size 4
SAMPLES: dict[str, tuple[int, dict[str, tuple[int, ...]]]] = {
    "mlx": (26, {"double_blocks.0.img_mlp.layers.0.lora_a": (4, 3), "single_blocks.0.linear1.lora_b": (3, 28)}),
    "kohya": (
        26,
        {
            "lora_unet_double_blocks_0_img_mlp_0.lora_down.weight": (3, 4),
            "lora_unet_double_blocks_0_txt_attn_qkv.lora_up.weight": (12, 3),
            "lora_unet_single_blocks_0_modulation_lin.lora_up.weight": (12, 3),
        },
    ),
    "mflux-tiled": (
        26,
        {
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (9, 4),
            "lora_unet_single_blocks_0_linear1.lora_down.weight": (12, 4),
            "lora_unet_single_blocks_0_linear1.lora_up.weight": (28, 3),
            "lora_unet_single_blocks_0_linear2.lora_down.weight": (3, 20),
        },
    ),
    "bfl": (26, {"diffusion_model.double_blocks.0.img_mlp.0.lora_A.weight": (3, 4)}),
    "bfl-down-up": (26, {"diffusion_model.single_blocks.0.linear1.lora_up.weight": (28, 3)}),
    "diffusers": (
        40,
        {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (3, 4),
            "transformer.transformer_blocks.0.ff.net.0.proj.lora_B.weight": (16, 3),
            "transformer.transformer_blocks.0.norm1_context.linear.lora_B.weight": (24, 3),
            "transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight": (16, 3),
        },
    ),
    "diffusers-metadata": (40, {"transformer.single_transformer_blocks.0.proj_out.lora_A.weight": (3, 20)}),
    "ai-toolkit": (40, {"transformer.transformer_blocks.0.attn.to_out.0.lora_A.weight": (3, 4)}),
    "mflux-train": (40, {"transformer.transformer_blocks.0.ff.linear2.lora_A": (3, 16)}),
    "mflux-train-new": (40, {"transformer.transformer_blocks.0.ff_context.linear1.lora_B.weight": (16, 3)}),
    "xlabs": (
        12,
        {
            "double_blocks.0.processor.qkv_lora2.up.weight": (12, 3),
            "double_blocks.0.processor.proj_lora1.down.weight": (3, 4),
            "single_blocks.0.processor.qkv_lora.up.weight": (12, 3),
            "single_blocks.0.processor.proj_lora.down.weight": (3, 20),
        },
    ),
    "onetrainer": (40, {"lora_transformer_transformer_blocks_0_attn_to_out_0.lora_down.weight": (3, 4)}),
    "onetrainer-omi": (
        40,
        {
            "transformer.single_blocks.0.linear1.3.lora_up.weight": (16, 3),
            "transformer.double_blocks.0.img_attn.qkv.0.lora_down.weight": (3, 4),
            "transformer.double_blocks.0.img_mlp.2.lora_down.weight": (3, 16),
        },
    ),
}


def test_every_dialect_has_a_sample() -> None:
    assert SAMPLES.keys() == DIALECTS.keys()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_names_shapes_and_dtype_are_those_of_the_dialect(dialect: str, dtype: str, tmp_path: Path) -> None:
    write, _, _ = DIALECTS[dialect]
    tensors = load_bits(write(tmp_path / "a.safetensors", Recipe(ranks=3, dtype=dtype)).path)  # type: ignore[arg-type]
    count, samples = SAMPLES[dialect]
    assert len(tensors) == count
    assert {name: tensors[name][1].shape for name in samples} == samples
    assert {stored for stored, _ in tensors.values()} == {dtype}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_seed_is_one_update_in_every_dialect_as_far_as_it_covers_the_modules(dialect: str, tmp_path: Path) -> None:
    recipe = Recipe(ranks=(2, 3, 5), seed=7)
    wanted = DIALECTS["mlx"][0](tmp_path / "mlx.safetensors", recipe).wanted
    other = DIALECTS[dialect][0](tmp_path / "other.safetensors", recipe).wanted
    if dialect != "xlabs":
        assert relative_error(other, wanted) == 0
        return
    for name, update in wanted.items():
        kind = name.split(".", 2)[2]
        rows = {"linear1": 12, "linear2": 4}.get(kind, len(update) if "attn" in kind else 0)
        np.testing.assert_array_equal(other[name][:rows], update[:rows])
        assert not other[name][rows:].any()


@pytest.mark.parametrize("dialect", [name for name, (_, holds_alpha, _) in DIALECTS.items() if holds_alpha])
def test_an_alpha_of_half_the_rank_is_stored_and_halves_the_update(dialect: str, tmp_path: Path) -> None:
    write = DIALECTS[dialect][0]
    plain = write(tmp_path / "plain.safetensors", Recipe(ranks=(2, 5)))
    halved = write(tmp_path / "halved.safetensors", Recipe(ranks=(2, 5), alpha="half"))
    assert relative_error({name: 2 * update for name, update in halved.wanted.items()}, plain.wanted) == 0
    if dialect == "diffusers-metadata":
        config = json.loads(metadata_of(halved.path)["lora_adapter_metadata"])
        assert (config["transformer.r"], config["transformer.lora_alpha"]) == (2, 1.0)
        assert config["transformer.rank_pattern"].keys() == config["transformer.alpha_pattern"].keys()
        assert set(config["transformer.alpha_pattern"].values()) == {2.5}
    else:
        tensors = load_bits(halved.path)
        alphas = [bits.view(np.float32) for name, (_, bits) in tensors.items() if name.endswith(".alpha")]
        assert len(alphas) == len(load_bits(plain.path)) / 2
        assert {float(alpha) for alpha in alphas} == {1.0, 2.5}
        assert {alpha.shape for alpha in alphas} == {()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_dialect_cannot_hold_is_not_written(dialect: str, tmp_path: Path) -> None:
    write, holds_alpha, holds_parts = DIALECTS[dialect]
    path = tmp_path / "a.safetensors"
    for recipe, is_held in ((Recipe(alpha="rank"), holds_alpha), (Recipe(own_parts=True), holds_parts)):
        if is_held:
            assert write(path, recipe).path.is_file()
        else:
            path.unlink(missing_ok=True)
            with pytest.raises(ValueError, match="hold"):
                write(path, recipe)
            assert not path.exists()


def test_parts_of_their_own_differ_in_rank_and_down_and_only_picks_them(tmp_path: Path) -> None:
    recipe = Recipe(ranks=(1, 2, 3), own_parts=True, only=r"img_attn\.qkv\.[qv]")
    built = DIALECTS["diffusers"][0](tmp_path / "a.safetensors", recipe)
    shapes = {name: bits.shape for name, (_, bits) in load_bits(built.path).items()}
    assert shapes == {
        "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (1, 4),
        "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": (4, 1),
        "transformer.transformer_blocks.0.attn.to_v.lora_A.weight": (2, 4),
        "transformer.transformer_blocks.0.attn.to_v.lora_B.weight": (4, 2),
    }
    update = built.wanted["double_blocks.0.img_attn.qkv"]
    assert [np.linalg.matrix_rank(update[start : start + 4]) for start in (0, 4, 8)] == [1, 0, 2]
    assert sum(bool(one.any()) for one in built.wanted.values()) == 1
    assert SMALL.hidden_size == 4
