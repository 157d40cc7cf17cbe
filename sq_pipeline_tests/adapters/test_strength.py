"""Tests of stated strengths: wherever a file says one it is used, told, or stops the file. Never another in silence.

The rows named as in the table of cases are built by its recipe; the others are their brothers.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sq_pipeline.adapters.adapter_folder import adapter_file_of
from sq_pipeline.adapters.inspect.findings import Doubt
from sq_pipeline.adapters.inspect.inspect import report_adapter
from sq_pipeline.adapters.keymap_files import load_keymap
from sq_pipeline.adapters.reading import ReadOptions
from sq_pipeline.adapters.remap.remap import RemapResult, remap_adapter
from sq_pipeline.adapters.source import open_adapter
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import KEYMAPS, Tensors, load, save
from sq_pipeline_tests.cases.adapters import (
    TRUE,
    joined,
    kohya,
    only,
    peft,
    split,
    tensor,
    trained_apart,
    write_odd,
    write_peft_folder,
)

TO = {target: load_keymap(KEYMAPS / f"mlx-to-{target}.yaml") for target in ("mflux", "kohya", "diffusers")}
SPLIT = {"ss_network_args": '{"split_qkv": "True"}', "ss_network_alpha": "2"}


def remap(path: Path, target: str = "mflux", *allowed: Doubt, **options: Any) -> tuple[Path, RemapResult]:
    """As the command does it for a person."""
    out = path.parent / f"out.{target}"
    return out, remap_adapter(adapter_file_of(path), out, TO[target], options=ReadOptions(**options), allowed=allowed)


def scales_of(path: Path) -> set[float]:
    """The scales that loaders take from a file that was written: its alphas over its ranks."""
    return {round(patch.scale, 7) for patch in open_adapter(path).patches.values()}


def faults_of(path: Path, target: str = "mflux", **options: Any) -> str:
    before = {*path.parent.iterdir()}
    with pytest.raises(AdapterError) as caught:
        remap(path, target, **options)
    assert {*path.parent.iterdir()} == before
    return "\n".join(map(str, caught.value.faults))


def peft_file(folder: Path, metadata: dict[str, str], **names: Any) -> Path:
    return save(folder / "a.safetensors", peft(split(rank=4), **names), metadata)


def beside(folder: Path, config: dict[str, Any]) -> Path:
    """A file of a name of its own, with a configuration in its folder."""
    write_peft_folder(folder, config)
    return (folder / "adapter_model.safetensors").rename(folder / "mine.safetensors")


STATED: dict[str, tuple[Callable[[Path], Path], float, str]] = {
    "peft-alpha-4-times": (write_peft_folder, 4.0, "adapter_config.json"),
    "peft-rslora": (
        lambda folder: write_peft_folder(folder, {"lora_alpha": 4, "use_rslora": True}),
        2.0,
        "adapter_config.json: alpha 4 at rank 4, rsLoRA",
    ),
    "metadata-lora-alpha": (
        lambda folder: peft_file(folder, {"lora_alpha": "2", "r": "4"}),
        0.5,
        "metadata lora_alpha",
    ),
    "metadata-network-alpha": (
        lambda folder: peft_file(folder, {"network_alpha": "2", "rank": "4"}),
        0.5,
        "metadata network_alpha",
    ),
    "its file, not its folder": (
        lambda folder: write_peft_folder(folder) / "adapter_model.safetensors",
        4.0,
        "adapter_config.json",
    ),
    "a file of another name": (lambda folder: beside(folder, {}), 4.0, "adapter_config.json"),
    "alpha below rank": (lambda folder: write_peft_folder(folder, {"lora_alpha": 1}), 0.25, "alpha 1 at rank 4"),
    "an alpha that is no whole number": (
        lambda folder: write_peft_folder(folder, {"lora_alpha": 2.5}),
        0.625,
        "alpha 2.5 at rank 4",
    ),
    "ss_network_alpha in diffusers' names": (
        lambda folder: peft_file(folder, {"ss_network_alpha": "8", "ss_network_dim": "4"}),
        2.0,
        "metadata ss_network_alpha",
    ),
    "without a rank": (lambda folder: peft_file(folder, {"lora_alpha": "6"}), 1.5, "metadata lora_alpha"),
    "BFL's names": (
        lambda folder: save(folder / "a.safetensors", peft(joined(rank=4), "diffusion_model."), {"lora_alpha": "2"}),
        0.5,
        "metadata lora_alpha",
    ),
}


@pytest.mark.parametrize("case", STATED)
def test_a_stated_strength_is_the_one_that_is_written_and_its_place_is_named(tmp_path: Path, case: str):
    build, scale, place = STATED[case]
    path = build(tmp_path)
    report = report_adapter(adapter_file_of(path))
    assert report.scales.keys() == {scale}
    assert any(place in remark for remark in report.remarks)
    for target in TO:
        out, result = remap(path, target)
        assert scales_of(out) == {scale}
        assert any(place in note for note in result.notes)
    # none of the loaders reads these places
    assert not any(verdict.is_right for verdict in report.loads_in)


def test_patterns_of_a_configuration_count_for_their_modules(tmp_path: Path):
    path = write_peft_folder(tmp_path, {"alpha_pattern": {"attn.to_q": 2, "norm.linear": 4}})
    patches = open_adapter(path / "adapter_model.safetensors").patches
    assert patches["double_blocks.0.img_attn.qkv.q"].scale == 0.5
    assert patches["single_blocks.0.modulation.lin"].scale == 1
    assert patches["double_blocks.0.img_attn.qkv.k"].scale == 4


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "peft-config-contradicts": (
        lambda folder: write_peft_folder(folder, {"r": 16}),
        "adapter_config.json says rank 16 (r), the file has rank 4",
    ),
    "a rank_pattern that contradicts": (
        lambda folder: write_peft_folder(folder, {"rank_pattern": {"attn.to_q": 8}}),
        "adapter_config.json says rank 8 (r), the file has rank 4",
    ),
    "a rank in the metadata that no module has": (
        lambda folder: peft_file(folder, {"lora_alpha": "16", "r": "16"}),
        "metadata lora_alpha says rank 16 (r), the file has rank 4",
    ),
    "two places, two strengths": (
        lambda folder: peft_file(folder, {"lora_alpha": "2", "network_alpha": "8"}),
        "metadata lora_alpha says scale 0.5, metadata network_alpha says 2",
    ),
    "a configuration that is no JSON": (
        lambda folder: _edited(write_peft_folder(folder), "{"),
        "adapter_config.json: is not the JSON it should be",
    ),
    "an alpha that is no number": (
        lambda folder: write_peft_folder(folder, {"lora_alpha": "much"}),
        "adapter_config.json: has a lora_alpha that is no number",
    ),
    "shards": (
        lambda folder: save(folder / "adapter-00001-of-00002.safetensors", kohya(joined())),
        "is part 1 of 2 of an adapter; the rest is in adapter-00002-of-00002.safetensors",
    ),
    "the last of three": (
        lambda folder: save(folder / "a.00003-of-00003.safetensors", kohya(joined())),
        "is part 3 of 3 of an adapter; the rest is in a.00001-of-00003.safetensors, a.00002-of-00003.safetensors",
    ),
    "a folder of shards": (
        lambda folder: next(save(folder / f"m-0000{i}-of-00002.safetensors", kohya(joined())) for i in (1, 2)).parent,
        "is part 1 of 2",
    ),
    "split-qkv-no-metadata": (
        lambda folder: save(folder / "a.safetensors", trained_apart()),
        "8 modules hold parts side by side, with a block-diagonal up matrix (4 at 3 times the rank and 4 at 4 times",
    ),
    "metadata-says-sdxl": (
        lambda folder: save(
            folder / "a.safetensors",
            kohya(joined()),
            {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora", "ss_base_model_version": "sdxl_base_v1-0"},
        ),
        "metadata modelspec.architecture says sdxl",
    ),
    "a configuration for another model": (
        lambda folder: write_peft_folder(folder, {"base_model_name_or_path": "stabilityai/stable-diffusion-3-medium"}),
        "adapter_config.json says sd3",
    ),
    "metadata says klein": (
        lambda folder: save(folder / "a.safetensors", kohya(joined()), {"ss_base_model_version": "flux2-klein-4b"}),
        "metadata ss_base_model_version says flux2-klein-4b",
    ),
}


def _edited(folder: Path, config: str) -> Path:
    (folder / "adapter_config.json").write_text(config)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_stops_a_remap(tmp_path: Path, case: str):
    build, problem = REFUSED[case]
    path = build(tmp_path)
    assert problem in faults_of(path)
    report = report_adapter(adapter_file_of(path))
    assert any(problem.split(": ", 1)[-1] in fault for fault in report.faults)


@pytest.mark.parametrize(
    "metadata",
    [
        {"ss_base_model_version": "flux1"},
        {"modelspec.architecture": "flux-1-dev/lora"},
        {"modelspec.architecture": "Flux.1-dev"},
        {"ss_base_model_version": "my own finetune"},
        {"base_model": "black-forest-labs/FLUX.1-Kontext-dev"},
    ],
    ids=lambda metadata: next(iter(metadata.values())),
)
def test_metadata_of_flux1_and_unknown_names_are_no_contradiction(tmp_path: Path, metadata: dict[str, str]):
    _, result = remap(save(tmp_path / "a.safetensors", kohya(joined()), metadata))
    assert result.notes == ()


def test_a_base_model_that_is_contradicted_may_be_allowed(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", kohya(joined()), {"ss_base_model_version": "sdxl_base_v1-0"})
    out, _ = remap(path, "mflux", Doubt.BASE)
    assert scales_of(out) == {1}


# alphas that are missing


def ss_file(folder: Path) -> Path:
    metadata = {"ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_network_module": "networks.lora_flux"}
    return save(folder / "a.safetensors", kohya(joined(rank=4), has_alpha=False), metadata)


def test_metadata_ss_network_alpha_is_offered_and_what_is_offered_works(tmp_path: Path):
    """metadata-ss-network-alpha"""
    hint = faults_of(ss_file(tmp_path))
    assert "pass --missing-alpha stated for alpha 2 (scale 0.5), as metadata ss_network_alpha says" in hint
    out, result = remap(ss_file(tmp_path), missing_alpha="stated")
    assert scales_of(out) == {0.5}
    assert any("metadata ss_network_alpha" in note for note in result.notes)


def test_the_rank_against_what_is_stated_is_told(tmp_path: Path):
    out, result = remap(ss_file(tmp_path), "kohya", missing_alpha="rank")
    assert scales_of(out) == {1}
    assert any("ss_network_alpha says alpha 2 (scale 0.5)" in note for note in result.notes)


def test_a_number_is_the_alpha(tmp_path: Path):
    out, _ = remap(ss_file(tmp_path), missing_alpha=1.0)
    assert scales_of(out) == {0.25}


def test_stated_where_nothing_is_stated_is_still_open(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", kohya(joined(), has_alpha=False))
    assert "alpha missing for all of them" in faults_of(path, missing_alpha="stated")


def test_metadata_contradicts_alpha_and_the_tensors_win(tmp_path: Path):
    """metadata-contradicts-alpha"""
    metadata = {"ss_network_dim": "4", "ss_network_alpha": "1.0", "ss_network_module": "networks.lora_flux"}
    out, result = remap(save(tmp_path / "a.safetensors", kohya(joined(rank=4)), metadata))
    assert scales_of(out) == {1}
    (note,) = result.notes
    assert note.startswith(
        "metadata ss_network_alpha says alpha 1 (scale 0.25); what counts in 32 modules is their own"
    )


def test_good_is_read_without_a_word(tmp_path: Path):
    metadata = {"ss_network_dim": "2", "ss_network_alpha": "2.0", "ss_base_model_version": "flux1"}
    path = save(tmp_path / "a.safetensors", kohya(joined()), metadata)
    report, (_, result) = report_adapter(path), remap(path)
    assert (report.faults, report.remarks, result.notes) == ((), (), ())


# parts that were trained apart


def scaled_apart(tensors: Tensors, factor: float) -> Tensors:
    """The alphas of fused modules as those of the whole rank."""
    return {
        name: tensor(factor * (4 if "linear1" in name else 3))
        if name.endswith(("qkv.alpha", "linear1.alpha"))
        else value
        for name, value in tensors.items()
    }


APART: dict[str, tuple[Tensors, dict[str, str], dict[str, Any], set[float]]] = {
    "split-qkv": (trained_apart(), SPLIT, {}, {1.0}),
    "at half strength": (trained_apart(alpha=1.0), SPLIT, {}, {0.5}),
    "told by a person": (trained_apart(), {}, {"split_qkv": "yes"}, {1.0}),
    "denied by a person": (trained_apart(), {}, {"split_qkv": "no"}, {0.25, 0.3333333, 1.0}),
    "single blocks alone": (only(trained_apart(), ["single"]), SPLIT, {}, {1.0}),
    "fused modules alone": (only(trained_apart(), ["qkv"]), SPLIT, {}, {1.0}),
    "as convert_flux_lora.py stores it": (scaled_apart(trained_apart(), 2.0), {}, {}, {1.0}),
    "with alphas that somebody corrected": (scaled_apart(trained_apart(), 2.0), SPLIT, {}, {1.0}),
    "not apart, whatever the metadata says": (kohya(joined(rank=6), 2.0), SPLIT, {}, {0.3333333}),
}


@pytest.mark.parametrize("case", APART)
def test_parts_that_were_trained_apart_have_the_strength_they_were_trained_with(tmp_path: Path, case: str):
    tensors, metadata, options, scales = APART[case]
    path = save(tmp_path / "a.safetensors", tensors, metadata)
    for target in ("mflux", "kohya"):
        out, _ = remap(path, target, **options)
        assert scales_of(out) == scales


def test_split_qkv_is_told_and_no_loader_has_it_right(tmp_path: Path):
    path = save(tmp_path / "a.safetensors", trained_apart(), SPLIT)
    report, (_, result) = report_adapter(path), remap(path)
    assert [note for note in result.notes if "split_qkv" in note] == [*result.notes]
    assert report.remarks == result.notes
    assert report.scales == {1.0: 32}
    first = next(verdict for verdict in report.loads_in if verdict.loader == "mflux >=0.19")
    assert first.reason.startswith("it takes a part's alpha for the whole: scale 0.3333 in place of 1")


# strengths that are read, and odd


@pytest.mark.parametrize(("alpha", "said"), [(16.0, "8 times"), (2.0**-6, "1/128 of")])
def test_alpha_8_times_is_a_remark_and_stops_nobody(tmp_path: Path, alpha: float, said: str):
    """alpha-8-times"""
    path = save(tmp_path / "a.safetensors", kohya(joined(), alpha))
    report, (out, result) = report_adapter(path), remap(path)
    for remarks in (report.remarks, result.notes):
        (remark,) = remarks
        assert f"runs at {said} its matrices (alpha {alpha:g} at rank 2); Kohya trains so" in remark
    assert (report.faults, scales_of(out)) == ((), {alpha / 2})


def test_alpha_zero_in_some_is_a_remark_with_the_count(tmp_path: Path):
    """alpha-zero-in-some"""
    tensors = kohya(joined())
    tensors |= {name: tensor(0.0) for name in tensors if name.endswith("alpha") and "single" in name}
    path = save(tmp_path / "a.safetensors", tensors)
    report, (_, result) = report_adapter(path), remap(path)
    for remarks in (report.remarks, result.notes):
        assert [remark[:41] for remark in remarks] == ["the update of 12 of 32 modules is zero; t"]
    assert report.faults == ()


@pytest.mark.parametrize(("dtype", "kept"), [("I64", False), ("I32", False), ("U8", False), ("BF16", True)])
def test_alpha_whole_numbers_are_written_so_that_diffusers_takes_them(tmp_path: Path, dtype: str, kept: bool):
    """alpha-whole-numbers"""
    path = save_any(tmp_path / "a.safetensors", kohya(joined(TRUE), 1, dtype="BF16", alpha_dtype=dtype))
    out, _ = remap(path, "diffusers")
    assert {kind for name, (kind, *_) in load(out).items() if name.endswith("alpha")} == {dtype if kept else "F32"}
    verdicts = {verdict.loader: verdict.is_right for verdict in report_adapter(out).loads_in}
    assert verdicts["diffusers"]


def save_any(path: Path, tensors: Tensors) -> Path:
    return write_odd(path, tensors, {})


@pytest.mark.parametrize("target", ["kohya", "diffusers"])
@pytest.mark.parametrize("alpha", [-1.0, -0.5])
def test_alpha_negative_is_written_with_its_sign_in_up(tmp_path: Path, target: str, alpha: float):
    """alpha-negative"""
    path = save(tmp_path / "a.safetensors", kohya(joined(TRUE, 1), alpha, dtype="BF16"))
    verdicts = {verdict.loader: verdict.is_right for verdict in report_adapter(path).loads_in}
    assert not verdicts["diffusers"]
    assert "negative scale" in faults_of(path, target)
    out, _ = remap(path, target, Doubt.STRENGTH)
    before, after = open_adapter(path), open_adapter(out)
    assert {patch.scale for patch in after.patches.values()} == {-alpha}
    one, other = (adapter.patches["double_blocks.0.img_attn.proj"] for adapter in (before, after))
    assert np.array_equal(after.numbers(other.up), -before.numbers(one.up))
    assert other.up.dtype == "BF16"
    assert {verdict.loader for verdict in report_adapter(out).loads_in if verdict.is_right} >= {"diffusers"}


# files that are read with care


def test_null_metadata_is_none(tmp_path: Path):
    path = write_odd(tmp_path / "a.safetensors", kohya(joined()))
    assert json.loads(path.read_bytes()[8:].split(b"}}", 1)[0] + b"}}")["__metadata__"] is None
    out, result = remap(path)
    assert (scales_of(out), result.notes) == ({1.0}, ())


@pytest.mark.parametrize(
    ("dtype", "tensors", "hint"), [("F64", 64, "convert them to F32"), ("F8_E4M3", 64, "convert them to BF16")]
)
def test_numbers_that_no_target_holds_are_one_line(tmp_path: Path, dtype: str, tensors: int, hint: str):
    path = write_odd(tmp_path / "a.safetensors", kohya(joined(), dtype=dtype))
    lines = faults_of(path).splitlines()
    assert len(lines) == 1
    assert f"{tensors} tensors are {dtype}, which no target here holds" in lines[0]
    assert hint in lines[0]


def test_a_folder_is_its_adapter_or_says_why_not(tmp_path: Path):
    assert adapter_file_of(write_peft_folder(tmp_path / "peft")).name == "adapter_model.safetensors"
    (tmp_path / "none").mkdir()
    with pytest.raises(AdapterError, match=r"without a \.safetensors file"):
        adapter_file_of(tmp_path / "none")
    for name in "ab":
        save(tmp_path / f"{name}.safetensors", kohya(joined()))
    with pytest.raises(AdapterError, match=r"is a folder of 2 files \(a.safetensors, b.safetensors\)"):
        adapter_file_of(tmp_path)


def test_a_scale_is_a_finite_number_everywhere(tmp_path: Path):
    path = peft_file(tmp_path, {"lora_alpha": "nan", "network_alpha": "None", "ss_network_alpha": "inf"})
    assert all(math.isfinite(scale) for scale in report_adapter(path).scales)
    assert report_adapter(path).scales.keys() == {1.0}
