"""Tests of what the report on an adapter sums up: base model, coverage, scales, metadata.

Faults are in test_inspect and test_bad_files, numbers in test_update_size, loaders in test_loader_verdicts.
"""

import json
from pathlib import Path

import pytest

from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.adapters.inspect.metadata_text import path_fault, shown
from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline_tests.adapters.files import FULL, SMALL, Tensors, mlx_tensors, save, to_bits
from sq_pipeline_tests.loaders.dialect_files import DIALECTS
from sq_pipeline_tests.loaders.factors import Recipe

TINY = FLUX1_MODELS["tiny-flux"]


# Base model and coverage


def test_a_whole_adapter_covers_all_modules_of_its_base_model(tmp_path: Path):
    report = report_adapter(save(tmp_path / "a.safetensors", mlx_tensors(TINY, rank=1)))
    assert report.fit.base_models == ("tiny-flux",)
    assert (report.fit.hidden_size, report.fit.covered, report.fit.modules) == (256, 32, 32)
    assert (report.fit.missing, report.faults) == ((), ())


def test_widths_of_3072_are_the_published_models(tmp_path: Path):
    tensors: Tensors = {
        "single_blocks.37.modulation.lin.lora_a": ("BF16", to_bits([[1.0]] * 3072, "BF16")),
        "single_blocks.37.modulation.lin.lora_b": ("BF16", to_bits([[1.0] * 9216], "BF16")),
    }
    fit = report_adapter(save(tmp_path / "a.safetensors", tensors)).fit
    assert fit.base_models == ("flux1-dev", "flux1-schnell")
    assert (fit.covered, fit.modules) == (1, 304)
    assert fit.missing == (
        "everything of all 19 double blocks",
        "linear1, linear2 of all 38 single blocks",
        "modulation.lin of single blocks 0–36",
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_parts_make_whole_modules_in_every_dialect(tmp_path: Path, dialect: str):
    write = DIALECTS[dialect][0]
    built = write(tmp_path / "a.safetensors", Recipe(ranks=2))
    fit = report_adapter(built.path, base_models=(SMALL,)).fit
    if dialect == "xlabs":  # its trainer knows no more
        assert fit.covered == 5
        assert fit.missing == (
            "img_mlp.layers.0, img_mlp.layers.2, img_mod.lin, txt_mlp.layers.0, txt_mlp.layers.2, txt_mod.lin"
            " of all 1 double blocks",
            "linear1.mlp, modulation.lin of all 1 single blocks",
        )
    else:
        assert (fit.covered, fit.modules, fit.missing) == (13, 13, ())


@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (r"img_mod", ["img_mod.lin of all 19 double blocks"]),
        (
            r"blocks.3.txt_",
            ["txt_attn.qkv, txt_attn.proj, txt_mlp.layers.0, txt_mlp.layers.2, txt_mod.lin of double blocks 3"],
        ),
        (r"single", ["everything of all 38 single blocks"]),
        (r"single_blocks.1", ["everything of single blocks 1, 10–19"]),
        (r"single_blocks.37.linear2", ["linear2 of single blocks 37"]),
    ],
)
def test_what_is_missing_is_told_in_groups(tmp_path: Path, gone: str, missing: list[str]):
    tensors = {name: both for name, both in mlx_tensors(FULL, rank=1).items() if gone not in name}
    fit = report_adapter(save(tmp_path / "a.safetensors", tensors), base_models=(FULL,)).fit
    assert list(fit.missing) == missing
    assert fit.covered == len({name.rpartition(".")[0] for name in tensors})


def test_a_module_that_has_some_of_its_parts_is_not_covered(tmp_path: Path):
    built = DIALECTS["diffusers"][0](tmp_path / "a.safetensors", Recipe(own_parts=True, only=r"img_attn.qkv.[qk]"))
    fit = report_adapter(built.path, base_models=(SMALL,)).fit
    assert fit.covered == 0
    assert fit.missing[0].startswith("img_attn.qkv.v, img_attn.proj, ")


def test_blocks_that_the_base_model_has_not_are_a_fault(tmp_path: Path):
    tensors = mlx_tensors(TINY, rank=1)
    for name in [name for name in tensors if name.startswith("double_blocks.1.img_attn.qkv")]:
        tensors[name.replace("blocks.1", "blocks.2")] = tensors[name]
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert report.faults == ("double_blocks.2.img_attn.qkv: tiny-flux has 2 double and 4 single blocks",)
    assert report.fit.covered == 32


def test_a_module_of_other_widths_is_told_against_the_rest(tmp_path: Path):
    tensors = mlx_tensors(TINY, rank=1)
    tensors["single_blocks.0.linear2.lora_a"] = ("F32", to_bits([[1.0]] * 1024))
    report = report_adapter(save(tmp_path / "a.safetensors", tensors))
    assert report.faults == (
        "single_blocks.0.linear2: has 1024 inputs and 256 outputs; at hidden size 256, "
        "which most of the file has, it needs 1280 and 256",
    )


# Scales


@pytest.mark.parametrize("dialect", ["kohya", "diffusers", "diffusers-metadata", "bfl", "onetrainer", "onetrainer-omi"])
def test_alpha_over_rank_multiplies_the_update(tmp_path: Path, dialect: str):
    write = DIALECTS[dialect][0]
    plain, half = (
        report_adapter(
            write(tmp_path / f"{alpha}.safetensors", Recipe(ranks=4, alpha=alpha)).path, base_models=(SMALL,)
        )
        for alpha in ("rank", "half")
    )
    assert plain.scales.keys() == {1.0}
    assert half.scales.keys() == {0.5}
    assert half.alphas == [2.0]
    assert half.update_norm == pytest.approx(plain.update_norm / 2, rel=1e-9)
    source = "metadata" if dialect == "diffusers-metadata" else "tensor"
    assert {row.alpha_source for row in half.rows} == {source}


def test_ranks_that_vary_are_counted(tmp_path: Path):
    built = DIALECTS["mlx"][0](tmp_path / "a.safetensors", Recipe(ranks=(2, 3)))
    assert report_adapter(built.path, base_models=(SMALL,)).ranks == {2: 7, 3: 6}


def test_metadata_of_peft_that_cannot_be_used_is_a_fault(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", mlx_tensors(TINY, rank=1), {"lora_adapter_metadata": "{"})
    assert report_adapter(path).faults == ("metadata lora_adapter_metadata: is not the JSON it should be",)


# Metadata


@pytest.mark.parametrize(
    "text",
    [
        "/home/anna/train",
        "see /Users/anna/Library/x.safetensors, please",
        '{"/mnt/data/anna/set": {"n_repeats": 1}}',
        "C:\\Users\\anna\\flux1.safetensors",
        '{"dir": "D:\\\\sets\\\\anna"}',
        "\\\\nas\\pictures\\anna",
        "~/loras/out",
        "file:///home/anna/x",
    ],
)
def test_a_path_in_the_metadata_is_told(text: str):
    fault = path_fault({"ss_dir": text})
    assert fault is not None
    assert fault.startswith("metadata names a path of the machine it was made on (ss_dir: ")
    assert "anna" in fault or "lora" in fault or "x" in fault


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/black-forest-labs/FLUX.1-dev",
        "flux-1-dev/lora",
        "1/2/2026",
        "and/or",
        "black-forest-labs/FLUX.1-dev",
        "a / b / c",
        "sha256:0123",
        '{"a": [1, 2]}',
        "16:30:01",
        "/",
    ],
)
def test_what_only_looks_like_a_path_is_none(text: str):
    assert path_fault({"key": text}) is None


def test_many_paths_are_one_line():
    fault = path_fault({f"k{index}": f"/home/anna/{index}" for index in range(9)})
    assert fault is not None
    assert fault.endswith("k2: /home/anna/2 and 6 more)")


def test_metadata_is_shown_without_control_characters_and_cut():
    assert shown("a\n\x1b[31mred\u202e") == r"a\n\x1b[31mred\u202e"
    assert shown("x" * 5000) == "x" * 200 + "… (5,000 characters)"


def test_the_json_is_plain_and_holds_everything(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", mlx_tensors(TINY, rank=2), {"lora_rank": "2"})
    report = json.loads(json.dumps(report_adapter(path, with_spectrum=True).as_json(), allow_nan=False))
    assert report["base_models"] == ["tiny-flux"]
    assert report["coverage"] == {"covered": 32, "of": 32, "missing": []}
    assert report["scales"] == {"1": 32}
    assert len(report["rows"]) == 32
    assert report["rows"][0]["slot"] == "double_blocks.0.img_attn.proj"
    assert all(1 < row["effective_rank"] <= 2 for row in report["rows"])
    assert [verdict["loader"] for verdict in report["loads_in"]] == [
        "mflux >=0.19",
        "mflux <0.19",
        "diffusers",
        "ComfyUI",
        "sd-scripts",
    ]
