"""Tests of inspecting adapter files: dialects by their names, strength by the numbers, and what is wrong with a file.

Files that are no safetensors files are in test_safetensors_file.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sq_pipeline.adapters.dialects import name_dialect, parse_key
from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import FULL, SMALL, Tensors, mlx_tensors, save, to_bits, with_value

# Names of each dialect: a down matrix, its up matrix, and an alpha where the dialect has one
SAMPLES: dict[str, list[tuple[str, ...]]] = {
    "mlx-examples": [
        ("double_blocks.0.img_attn.qkv.lora_a", "double_blocks.0.img_attn.qkv.lora_b"),
        ("double_blocks.18.txt_mlp.layers.2.lora_a", "double_blocks.18.txt_mlp.layers.2.lora_b"),
        ("single_blocks.37.modulation.lin.lora_a", "single_blocks.37.modulation.lin.lora_b"),
    ],
    "Kohya": [
        (
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.alpha",
        ),
        (
            "lora_unet_single_blocks_37_modulation_lin.lora_down.weight",
            "lora_unet_single_blocks_37_modulation_lin.lora_up.weight",
            "lora_unet_single_blocks_37_modulation_lin.alpha",
        ),
    ],
    "diffusers": [
        (
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
        ),
        (
            "transformer.single_transformer_blocks.37.proj_mlp.lora_A.weight",
            "transformer.single_transformer_blocks.37.proj_mlp.lora_B.weight",
        ),
        (
            "transformer_blocks.3.ff.net.0.proj.lora_down.weight",
            "transformer_blocks.3.ff.net.0.proj.lora_up.weight",
            "transformer_blocks.3.ff.net.0.proj.alpha",
        ),
    ],
    "BFL/Comfy": [
        (
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight",
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight",
        ),
        (
            "diffusion_model.single_blocks.5.linear1.lora_down.weight",
            "diffusion_model.single_blocks.5.linear1.lora_up.weight",
            "diffusion_model.single_blocks.5.linear1.alpha",
        ),
        ("diffusion_model.double_blocks.1.txt_mod.lin.lora_A", "diffusion_model.double_blocks.1.txt_mod.lin.lora_B"),
    ],
    "XLabs": [
        (
            "double_blocks.0.processor.qkv_lora1.down.weight",
            "double_blocks.0.processor.qkv_lora1.up.weight",
        ),
        (
            "single_blocks.37.processor.proj_lora.down.weight",
            "single_blocks.37.processor.proj_lora.up.weight",
        ),
    ],
}


@pytest.mark.parametrize("dialect", SAMPLES)
def test_a_dialect_is_told_by_its_names(dialect: str):
    for group in SAMPLES[dialect]:
        assert name_dialect(group) == dialect
    assert name_dialect(name for group in SAMPLES[dialect] for name in group) == dialect


@pytest.mark.parametrize(
    ("names", "dialect"),
    [
        (["img_in.weight"], "unknown"),
        ([], "unknown"),
        (["x.alpha"], "unknown"),
        ([SAMPLES["Kohya"][0][0], SAMPLES["diffusers"][0][0]], "mixed"),
        ([SAMPLES["mlx-examples"][0][0], "img_in.lora_a"], "mixed"),
    ],
)
def test_what_is_of_no_dialect_or_of_two_says_so(names: list[str], dialect: str):
    assert name_dialect(names) == dialect


@pytest.mark.parametrize("dialect", SAMPLES)
def test_names_are_taken_apart_in_every_dialect(dialect: str):
    for group in SAMPLES[dialect]:
        keys = [parse_key(name) for name in group]
        assert [key.matrix for key in keys if key] == ["down", "up", "alpha"][: len(group)]
        assert len({key.module for key in keys if key}) == 1
        assert [key.is_mlx for key in keys if key] == [dialect == "mlx-examples"] * len(group)


@pytest.mark.parametrize("name", ["img_in.weight", "lora_a", "x.lora_A.bias", "x.lora_b.weight.more", "x.down.weight"])
def test_other_names_are_no_adapter_tensors(name: str):
    assert parse_key(name) is None


# Inputs and outputs of the sample modules, in hidden sizes
WIDTHS: dict[str, list[tuple[int, int]]] = {
    "mlx-examples": [(1, 3), (4, 1), (1, 3)],
    "Kohya": [(1, 3), (1, 3)],
    "diffusers": [(1, 1), (1, 4), (1, 4)],
    "BFL/Comfy": [(1, 3), (1, 7), (1, 6)],
    "XLabs": [(1, 3), (5, 1)],
}
HIDDEN = FULL.hidden_size


def inspect(path: Path) -> dict[str, Any]:
    """The report, with the small models of the tests for those that are known."""
    return report_adapter(path, base_models=(SMALL, FULL)).as_json()


def adapter_of(
    dialect: str, alpha: float | None, dtype: str = "F32", rank: int = 2
) -> tuple[Tensors, list[npt.NDArray[np.float32]]]:
    """Every sample module of a dialect at FULL's widths, and its updates without scale, (inputs, outputs)."""
    random = np.random.default_rng(3)
    tensors: Tensors = {}
    updates: list[npt.NDArray[np.float32]] = []
    for (down, up, *more), (inputs, outputs) in zip(SAMPLES[dialect], WIDTHS[dialect], strict=True):
        a = random.integers(-3, 4, (inputs * HIDDEN, rank)).astype(np.float32)  # exact in every dtype
        b = random.integers(-3, 4, (rank, outputs * HIDDEN)).astype(np.float32)
        is_mlx = dialect == "mlx-examples"
        tensors[down] = (dtype, to_bits(a if is_mlx else a.T, dtype))
        tensors[up] = (dtype, to_bits(b if is_mlx else b.T, dtype))
        updates.append(a @ b)
        if alpha is not None and any(len(group) == 3 for group in SAMPLES[dialect]):
            name = more[0] if more else f"{down.partition('.lora_')[0]}.alpha"
            tensors[name] = (dtype, to_bits(alpha, dtype))
    return tensors, updates


@pytest.mark.parametrize("dialect", SAMPLES)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_file_of_each_dialect_is_read_whole(tmp_path: Path, dialect: str, dtype: str):
    tensors, updates = adapter_of(dialect, 2.0, dtype)
    report = inspect(save(tmp_path / "a.safetensors", tensors, {"lora_rank": "2"}))
    count = len(SAMPLES[dialect])
    assert report["faults"] == []
    assert report["dialect"] == dialect
    assert (report["tensors"], report["modules"], report["ranks"]) == (len(tensors), count, {"2": count})
    assert report["alphas"] == ([2.0] if any(name.endswith(".alpha") for name in tensors) else [])
    assert report["scales"] == {"1": count}
    assert report["dtypes"] == {dtype: len(tensors)}
    assert report["metadata"] == {"lora_rank": "2"}
    assert report["file"] == "a.safetensors"
    assert report["bytes"] == (tmp_path / "a.safetensors").stat().st_size
    assert [row["update_norm"] for row in report["rows"]] == pytest.approx(
        [np.linalg.norm(update) for _, update in sorted(zip(SAMPLES[dialect], updates, strict=True))], rel=1e-9
    )
    assert report["update_norm"] == pytest.approx(
        np.linalg.norm(np.concatenate([u.ravel() for u in updates])), rel=1e-9
    )


def test_the_norm_of_a_file_is_that_of_all_its_updates(tmp_path: Path):
    tensors = mlx_tensors(SMALL, rank=3)
    squares = 0.0
    for name, (_, bits) in tensors.items():
        if name.endswith(".lora_a"):
            other = tensors[name.removesuffix("a") + "b"][1]
            squares += float(np.square(bits.view(np.float32) @ other.view(np.float32)).sum())
    report = inspect(save(tmp_path / "a.safetensors", tensors))
    assert report["update_norm"] == pytest.approx(np.sqrt(squares), rel=1e-5)
    assert report["ranks"] == {"3": 13}


# What is wrong with it

QKV, PROJ = "double_blocks.0.img_attn.qkv", "double_blocks.0.img_attn.proj"


def faults_of(folder: Path, tensors: Tensors) -> list[str]:
    report = inspect(save(folder / "a.safetensors", tensors))
    json.dumps(report, allow_nan=False)
    return report["faults"]


def test_an_untrained_adapter_is_told_by_its_zero_updates(tmp_path: Path):
    tensors = mlx_tensors(SMALL)
    for name, (dtype, bits) in tensors.items():
        if name.endswith(".lora_b"):
            tensors[name] = (dtype, np.zeros_like(bits))
    report = inspect(save(tmp_path / "a.safetensors", tensors))
    assert report["update_norm"] == 0
    assert report["faults"] == ["the whole adapter's update is zero; it changes nothing"]


def test_a_single_zero_update_is_named(tmp_path: Path):
    tensors = mlx_tensors(SMALL)
    tensors[f"{QKV}.lora_b"] = ("F32", np.full((2, 12), 0x80000000, np.uint32))  # -0.0
    report = report_adapter(save(tmp_path / "a.safetensors", tensors), base_models=(SMALL,))
    assert (report.faults, report.remarks) == ((), (f"{QKV}: its update is zero; it changes nothing",))


def test_an_alpha_of_zero_is_a_zero_update(tmp_path: Path):
    tensors, _ = adapter_of("Kohya", 0.0)
    assert len(faults_of(tmp_path, tensors)) == 2
    assert all("its update is zero" in fault for fault in faults_of(tmp_path, tensors))


@pytest.mark.parametrize(("kept", "gone"), [("lora_a", "an up"), ("lora_b", "a down")])
def test_half_the_keys_of_a_file_are_one_fault(tmp_path: Path, kept: str, gone: str):
    tensors = {name: both for name, both in mlx_tensors(FULL).items() if name.endswith(kept)}
    report = inspect(save(tmp_path / "a.safetensors", tensors))
    assert (report["tensors"], report["modules"], report["ranks"]) == (304, 304, {})
    assert report["faults"] == [f"half the keys are missing: no module has {gone} matrix"]


@pytest.mark.parametrize(("gone", "matrix"), [("lora_a", "down"), ("lora_b", "up")])
def test_few_halves_are_named_and_many_counted(tmp_path: Path, gone: str, matrix: str):
    tensors = mlx_tensors(FULL)
    del tensors[f"{QKV}.{gone}"]
    assert faults_of(tmp_path, tensors) == [f"{QKV}: its {matrix} matrix is missing"]
    half = {name: both for name, both in tensors.items() if name.startswith("double") or not name.endswith(gone)}
    assert faults_of(tmp_path, half) == [
        f"half the keys are missing: 115 of 304 modules have no {matrix} matrix "
        f"({QKV}, single_blocks.0.linear1 and 113 more)"
    ]


def test_an_alpha_alone_misses_both_matrices(tmp_path: Path):
    tensors: Tensors = {SAMPLES["Kohya"][0][2]: ("F32", to_bits(4.0))}
    assert faults_of(tmp_path, tensors) == ["lora_unet_double_blocks_0_img_attn_qkv: its down and up matrix is missing"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_number_that_is_none_is_named_and_the_rest_still_measured(tmp_path: Path, value: float, dtype: str):
    tensors = mlx_tensors(SMALL, dtype=dtype)
    whole = inspect(save(tmp_path / "whole.safetensors", tensors))["update_norm"]
    assert faults_of(tmp_path, with_value(tensors, f"{QKV}.lora_a", value)) == [f"{QKV}.lora_a: holds NaN or infinity"]
    report = inspect(tmp_path / "a.safetensors")
    assert 0 < report["update_norm"] < whole


def test_an_alpha_that_is_no_number_is_named(tmp_path: Path):
    tensors, _ = adapter_of("Kohya", 2.0)
    name = SAMPLES["Kohya"][0][2]
    assert faults_of(tmp_path, {**tensors, name: ("F32", to_bits(np.nan))}) == [f"{name}: holds NaN or infinity"]


MODULE = SAMPLES["Kohya"][0][2].removesuffix(".alpha")
DOWN, UP, ALPHA = SAMPLES["Kohya"][0]

ONES = ("F32", to_bits(np.ones((2, HIDDEN)))), ("F32", to_bits(np.ones((3 * HIDDEN, 2))))
ALPHA_2 = ("F32", to_bits(2.0))
ONE_ALPHA: Tensors = {ALPHA: ALPHA_2}
WHOLE: Tensors = {DOWN: ONES[0], UP: ONES[1], **ONE_ALPHA}

WRONG: dict[str, tuple[Tensors, list[str]]] = {
    "wrong pairs": (
        {**WHOLE, DOWN: ("F32", to_bits(np.ones((4, 2))))},
        [f"{MODULE}: misshapen: down is [4, 2], up [6, 2]; the ranks 4 and 2 differ"],
    ),
    "a vector": (
        {**WHOLE, DOWN: ("F32", to_bits(np.ones(4)))},
        [f"{MODULE}: misshapen: down is [4], up [6, 2]"],
    ),
    "a convolution": (
        {**WHOLE, DOWN: ("F32", to_bits(np.ones((2, 4, 1, 1)))), UP: ("F32", to_bits(np.ones((4, 2, 1, 1))))},
        [f"{MODULE}: misshapen: down is [2, 4, 1, 1], up [4, 2, 1, 1]"],
    ),
    "rank zero": (
        {**WHOLE, DOWN: ("F32", to_bits(np.ones((0, 4)))), UP: ("F32", to_bits(np.ones((4, 0))))},
        [f"{MODULE}: misshapen: down is [0, 4], up [4, 0]"],
    ),
    "whole numbers": (
        {DOWN: ("U8", np.ones((2, 4), np.uint8)), UP: ("U8", np.ones((4, 2), np.uint8)), **ONE_ALPHA},
        [f"{MODULE}: {DOWN} is U8 and {UP} is U8, not a floating-point number of 16, 32 or 64 bits"],
    ),
    "an alpha of whole numbers": (
        {**WHOLE, ALPHA: ("I64", np.array(2, np.uint64))},
        [],
    ),
    "an empty alpha": (
        {**WHOLE, ALPHA: ("F32", to_bits(np.ones(0)))},
        [f"{MODULE}: misshapen: its alpha is [0], not one number"],
    ),
    "a matrix twice": (
        {**WHOLE, DOWN.removesuffix(".weight"): ONES[0]},
        [f"{DOWN}: says the same as {DOWN.removesuffix('.weight')}"],
    ),
    "a module under two names": (
        {
            **WHOLE,
            "transformer.transformer_blocks.0.attn.to_k.lora_A.weight": ONES[0],
            "transformer.transformer_blocks.0.attn.to_k.lora_B.weight": ("F32", to_bits(np.ones((HIDDEN, 2)))),
            "transformer.transformer_blocks.0.attn.to_k.alpha": ALPHA_2,
        },
        [
            f"transformer.transformer_blocks.0.attn.to_k: says the same as {MODULE}: "
            "both update double_blocks.0.img_attn.qkv"
        ],
    ),
    "names of PEFT's own": (
        {
            f"base_model.model.double_blocks.0.img_attn.qkv.lora_{matrix}.default.weight": both
            for matrix, both in zip("AB", ONES, strict=True)
        },
        [],
    ),
    "another name": (
        {**WHOLE, "img_in.note": ONES[0]},
        ["img_in.note: not the name of an adapter's tensor"],
    ),
    "a weight of a model": (
        {**WHOLE, "img_in.weight": ONES[0]},
        ["img_in.weight: a weight, not an update of one"],
    ),
    "a text encoder's": (
        {**WHOLE, "lora_te1_fc1.lora_down.weight": ONES[0], "lora_te1_fc1.lora_up.weight": ONES[1]}
        | {"lora_te1_fc1.alpha": ALPHA_2},
        [],
    ),
    "a module outside the blocks": (
        {**WHOLE, "lora_unet_img_in.lora_down.weight": ONES[0], "lora_unet_img_in.lora_up.weight": ONES[1]}
        | {"lora_unet_img_in.alpha": ALPHA_2},
        [],
    ),
    "an alpha for some alone": (
        {
            **WHOLE,
            "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": ONES[0],
            "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": ("F32", to_bits(np.ones((HIDDEN, 2)))),
        },
        ["lora_unet_double_blocks_0_img_attn_proj: its alpha is missing"],
    ),
    "a tiled down matrix": (
        {**WHOLE, DOWN: ("F32", to_bits(np.ones((6, HIDDEN))))},
        [
            f"{MODULE}: tiled down matrix: 6 rows for rank 2, a recipe for mflux before 0.19; "
            "from 0.19 on it is a shape error"
        ],
    ),
    "no alpha": ({DOWN: ONES[0], UP: ONES[1]}, [f"{MODULE}: its alpha is missing"]),
    "an alpha that nobody trains with": (
        {**WHOLE, ALPHA: ("F32", to_bits(512.0))},
        [f"{MODULE}: runs at 256 times its matrices (alpha 512 at rank 2); nobody trains so"],
    ),
    "a negative alpha": (
        {**WHOLE, ALPHA: ("F32", to_bits(-2.0))},
        [f"{MODULE}: alpha -2 at rank 2: a negative scale, which does the opposite of what was trained"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_file_is_a_line_of_its_report(tmp_path: Path, case: str):
    tensors, expected = WRONG[case]
    assert faults_of(tmp_path, WHOLE) == []
    assert faults_of(tmp_path, tensors) == expected


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\0" * 4)
    with pytest.raises(AdapterError, match="too short for a safetensors file"):
        report_adapter(path)


def test_an_empty_file_of_no_tensors_is_reported(tmp_path: Path):
    report = report_adapter(save(tmp_path / "a.safetensors", {})).as_json()
    assert (report["dialect"], report["tensors"], report["update_norm"]) == ("unknown", 0, 0.0)
    assert report["faults"] == ["holds no module of a LoRA"]
