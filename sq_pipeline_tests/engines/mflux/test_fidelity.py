"""What mflux's own loader really applies, measured on tiny files: exact where a file is right, caught where it is not.

Timings and memory at flux1-dev's widths are in `benchmark`; the mutations of a whole line are in `mutation`.
"""

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.form import AdapterUse, UpdateSource
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.adapters.source import open_adapter
from sq_pipeline.base_models.base_models import BASE_MODELS, BaseModel
from sq_pipeline.common.errors import AdapterError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.ports import FidelityMeter, FidelityRequest
from sq_pipeline.verification.thresholds import FidelityThresholds
from sq_pipeline.verification.verdicts import judge_fidelity
from sq_pipeline_tests.adapters.files import FULL, SMALL, mlx_tensors, save
from sq_pipeline_tests.adapters.sources import MlxSource, read_mlx_source
from sq_pipeline_tests.loaders.dialect_files import write_kohya
from sq_pipeline_tests.loaders.factors import Dtype, Recipe

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
from mflux.models.flux.model.flux_transformer.transformer import Transformer

from sq_pipeline.engines.mflux.flux_layers import layers_of
from sq_pipeline.engines.mflux.loader_targets import mapping_for, match_keys, narrow
from sq_pipeline.engines.module_paths import get_module
from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline_tests.parts import rest_is_long

TINY = BASE_MODELS["tiny-flux"]
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def meter(shipped: DataDir) -> FidelityMeter:
    return factory.fidelity_meter(shipped)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save(tmp_path / "mlx.safetensors", mlx_tensors(SMALL, rank=3))


def remap(source: Path, base_model: BaseModel, shipped: DataDir, target: str = "mflux") -> Path:
    keymap = select_keymap(shipped.keymaps_root, target, "0.24.0" if target == "mflux" else None)
    output = source.with_name(f"{target}.safetensors")
    remap_adapter(source, output, keymap, base_model)
    return output


def request_for(file: Path, source: UpdateSource, base_model: BaseModel = SMALL, **more: object) -> FidelityRequest:
    return replace(FidelityRequest(base_model, AdapterUse(file, 1.0), source), **more)


def is_passed(report: FidelityReport) -> bool:
    return judge_fidelity(report, FidelityThresholds()).outcome == "passed"


# --- the layers and the loader's own list of them


@pytest.mark.parametrize("name", ["tiny-flux", "flux1-dev"])
def test_the_layers_are_those_of_mflux_s_transformer_and_of_its_mapping(name: str) -> None:
    base_model = BASE_MODELS[name]
    layers = {layer.path: layer for layer in layers_of(base_model)}
    assert len(layers) == base_model.patched_layers
    transformer = Transformer(mflux_build.model_config(), base_model.double_blocks, base_model.single_blocks)
    for path, layer in layers.items():
        weight: Any = get_module(transformer, path).weight  # not evaluated: mflux makes these at FLUX.1's widths
        if name == "flux1-dev":
            assert weight.shape == (layer.outputs, layer.inputs), path
    named = {target.model_path for target in mapping_for(base_model) if "{block}" in target.model_path}
    assert {".".join(p if at != 1 else "{block}" for at, p in enumerate(path.split("."))) for path in layers} == named


def test_a_mapping_narrowed_to_a_layer_knows_its_keys_and_no_others(source: Path, shipped: DataDir) -> None:
    keys = set(load_file(remap(source, SMALL, shipped)))
    mapping = mapping_for(SMALL)
    matches = match_keys(keys, mapping)
    assert matches.matched == keys
    for layer in layers_of(SMALL):
        found = match_keys(keys, narrow(mapping, layer.path, keys))
        assert set(found.layers) == {layer.path}
        assert found.matched == matches.layers[layer.path]


# --- a file that is right


@pytest.mark.parametrize("base_model", rest_is_long([SMALL, FULL], SMALL.name, name=lambda model: model.name))
@pytest.mark.parametrize("target", ["mflux", "kohya", "diffusers"])
def test_a_remapped_file_is_applied_exactly(
    base_model: BaseModel, target: str, tmp_path: Path, shipped: DataDir, meter: FidelityMeter
) -> None:
    source = save(tmp_path / "mlx.safetensors", mlx_tensors(base_model, rank=4))
    file = remap(source, base_model, shipped, target)
    report = meter.measure(request_for(file, read_mlx_source(source), base_model))
    assert len(report.wanted) == len(report.layers) == base_model.patched_layers
    assert (report.missed, report.extra, report.unmatched_keys, report.problems) == ((), (), (), ())
    assert report.relative_error is not None
    assert report.relative_error < 1e-6
    assert all(abs(layer.share_kept - 1) < 1e-5 for layer in report.layers)
    assert report.mode == "unbaked, float32"
    assert is_passed(report)


def test_what_the_product_opens_is_measured_like_what_the_test_reads(
    source: Path, shipped: DataDir, meter: FidelityMeter
) -> None:
    """Also of the remapped file itself, whose whole modules and missing alphas are read by its own keymap."""
    file = remap(source, SMALL, shipped)
    by_test = meter.measure(request_for(file, read_mlx_source(source)))
    for path in (source, file):
        opened = meter.measure(request_for(file, open_adapter(path, shipped.keymaps_root)))
        assert {layer.layer: layer.norm_wanted for layer in opened.layers} == pytest.approx(
            {layer.layer: layer.norm_wanted for layer in by_test.layers}
        )
        assert is_passed(opened)


def test_norms_are_those_of_the_update(source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    """By plain NumPy: the value rows of a single block's fused layer, and its MLP rows."""
    report = meter.measure(request_for(remap(source, SMALL, shipped), read_mlx_source(source)))
    arrays, hidden = load_file(source), SMALL.hidden_size
    update = (arrays["single_blocks.0.linear1.lora_a"] @ arrays["single_blocks.0.linear1.lora_b"]).T
    by_path = {layer.layer: layer for layer in report.layers}
    for path, part, rows in (
        ("attn.to_v", "v", slice(2 * hidden, 3 * hidden)),
        ("proj_mlp", "mlp", slice(3 * hidden, 7 * hidden)),
    ):
        layer = by_path[f"single_transformer_blocks.0.{path}"]
        assert layer.slot == f"single_blocks.0.linear1.{part}"
        assert layer.norm_wanted == pytest.approx(np.linalg.norm(update[rows]), rel=1e-5)
        assert layer.norm_applied == pytest.approx(np.linalg.norm(update[rows]), rel=1e-5)


def test_ranks_may_differ_from_module_to_module(tmp_path: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    tensors = mlx_tensors(SMALL, rank=1)
    for rank, stem in ((3, "double_blocks.0.img_attn"), (7, "single_blocks.0.linear1")):
        tensors |= {name: value for name, value in mlx_tensors(SMALL, rank=rank).items() if name.startswith(stem)}
    source = save(tmp_path / "mlx.safetensors", tensors)
    assert is_passed(meter.measure(request_for(remap(source, SMALL, shipped), read_mlx_source(source))))


def test_an_adapter_for_a_few_layers_is_whole(tmp_path: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    few = {name: value for name, value in mlx_tensors(SMALL).items() if ".img_attn." in name}
    source = save(tmp_path / "mlx.safetensors", few)
    output = tmp_path / "few.safetensors"
    remap_adapter(source, output, select_keymap(shipped.keymaps_root, "mflux", "0.24.0"))
    report = meter.measure(request_for(output, read_mlx_source(source)))
    assert len(report.layers) == 4
    assert is_passed(report)


@pytest.mark.parametrize("lora_scale", [0.5, -1.0, 1e-12])
def test_the_strength_counts_for_both(lora_scale: float, source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    file, opened = remap(source, SMALL, shipped), read_mlx_source(source)
    report = meter.measure(request_for(file, opened, adapter=AdapterUse(file, lora_scale)))
    assert is_passed(report)
    assert report.layers[0].norm_applied == pytest.approx(
        abs(lora_scale) * meter.measure(request_for(file, opened)).layers[0].norm_applied
    )


def test_an_update_whose_squares_are_too_small_for_float32_is_measured(
    source: Path, shipped: DataDir, meter: FidelityMeter
) -> None:
    arrays = {name: array * np.float32(1e-11) for name, array in load_file(source).items()}
    save_file(arrays, source)
    report = meter.measure(request_for(remap(source, SMALL, shipped), read_mlx_source(source)))
    assert 0 < report.layers[0].norm_wanted < 1e-18
    assert is_passed(report)


@pytest.mark.parametrize(("dtype", "limit"), [("F32", "≤ 0.001 (float32)"), ("BF16", "≤ 0.01 (bfloat16)")])
def test_a_file_in_bfloat16_is_rounded_where_the_loader_multiplies_its_scale_in(
    dtype: Dtype, limit: str, tmp_path: Path, meter: FidelityMeter
) -> None:
    """Alpha 1 at rank 3: mflux multiplies a third into the stored matrix, whatever the layers compute in."""
    file = write_kohya(tmp_path / "a.safetensors", Recipe(SMALL, ranks=3, alpha="one", dtype=dtype)).path
    report = meter.measure(request_for(file, open_adapter(file)))
    verdict = judge_fidelity(report, FidelityThresholds())
    assert (verdict.outcome, report.dtype) == ("passed", "float32")
    assert limit in verdict.threshold
    assert report.relative_error is not None
    assert (report.relative_error > 1e-3) == (dtype == "BF16")


def test_bfloat16_rounds_and_has_a_limit_of_its_own(tmp_path: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    source = save(tmp_path / "mlx.safetensors", mlx_tensors(TINY, rank=4))
    report = meter.measure(request_for(remap(source, TINY, shipped), read_mlx_source(source), TINY, dtype="bfloat16"))
    assert report.relative_error is not None
    assert 1e-3 < report.relative_error < 1e-2
    assert is_passed(report)
    assert not is_passed(replace(report, dtype="float32"))


# --- a file that is not


def _drop_a_block(arrays: Arrays) -> None:
    for name in [name for name in arrays if "single_blocks_0" in name]:
        del arrays[name]


def _drop_a_module(arrays: Arrays) -> None:
    for half in ("down", "up"):
        del arrays[f"lora_unet_double_blocks_0_img_attn_qkv.lora_{half}.weight"]


def _eight_times(arrays: Arrays) -> None:
    arrays["lora_unet_double_blocks_0_txt_mod_lin.lora_up.weight"] *= 8


def _alpha_of_half(arrays: Arrays) -> None:
    arrays["lora_unet_double_blocks_0_txt_mod_lin.alpha"] = np.array(1.5, np.float32)


def _turn_a_square_one(arrays: Arrays) -> None:
    down, up = (f"lora_unet_double_blocks_0_img_attn_proj.lora_{half}.weight" for half in ("down", "up"))
    arrays[down], arrays[up] = (np.ascontiguousarray(arrays[name].T) for name in (up, down))


def _zero_one(arrays: Arrays) -> None:
    arrays["lora_unet_single_blocks_0_linear2.lora_up.weight"] *= 0


def _swap_q_and_k(arrays: Arrays) -> None:
    up = arrays["lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight"]
    width = len(up) // 3
    up[: 2 * width] = np.roll(up[: 2 * width], width, axis=0)


def _nan(arrays: Arrays) -> None:
    arrays["lora_unet_single_blocks_0_linear2.lora_up.weight"][0, 0] = np.nan


def _half_a_pair(arrays: Arrays) -> None:
    del arrays["lora_unet_single_blocks_0_linear2.lora_up.weight"]


def _wrong_width(arrays: Arrays) -> None:
    name = "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"
    arrays[name] = np.ascontiguousarray(arrays[name][:, :3])


def _a_block_too_many(arrays: Arrays) -> None:
    for name in [name for name in arrays if "single_blocks_0" in name]:
        arrays[name.replace("_0_", "_5_", 1)] = arrays[name]


def _a_key_of_no_use(arrays: Arrays) -> None:
    arrays["lora_te1_text_model.lora_up.weight"] = np.ones((2, 2), np.float32)


def _misspell(arrays: Arrays) -> None:
    for half in ("down", "up"):
        arrays[f"lora_unet_double_blocks_0_img_attn_qkw.lora_{half}.weight"] = arrays.pop(
            f"lora_unet_double_blocks_0_img_attn_qkv.lora_{half}.weight"
        )


SPOILT: list[tuple[Callable[[Arrays], None], str]] = [
    (_drop_a_block, "6 of 20 layers were missed (single_transformer_blocks.0."),
    (_drop_a_module, "3 of 20 layers were missed (transformer_blocks.0.attn.to_q, transformer_blocks.0.attn.to_k"),
    (_eight_times, "relative error 7 in transformer_blocks.0.norm1_context.linear"),
    (_alpha_of_half, "relative error 0.5 in transformer_blocks.0.norm1_context.linear"),
    (_turn_a_square_one, "relative error "),
    (_zero_one, "1 of 20 layers were missed (single_transformer_blocks.0.proj_out)"),
    (_swap_q_and_k, "relative error "),
    (_nan, "relative error nan in single_transformer_blocks.0.proj_out"),
    (_half_a_pair, "single_transformer_blocks.0.proj_out: mflux did not apply it: "),
    (_wrong_width, "transformer_blocks.0.attn.to_out.0: mflux did not apply it: "),
    (_a_block_too_many, "it names single_transformer_blocks.5."),
    (_a_key_of_no_use, "the loader has no use for lora_te1_text_model.lora_up.weight"),
    (_misspell, "3 of 20 layers were missed (transformer_blocks.0.attn.to_q"),
]


@pytest.mark.parametrize(("spoil", "told"), SPOILT, ids=[spoil.__name__.strip("_") for spoil, _ in SPOILT])
def test_a_spoilt_file_is_told_by_what_is_wrong_with_it(
    spoil: Callable[[Arrays], None], told: str, source: Path, shipped: DataDir, meter: FidelityMeter
) -> None:
    file = remap(source, SMALL, shipped)
    arrays = {name: array.copy() for name, array in load_file(file).items()}
    spoil(arrays)
    save_file(arrays, file)
    verdict = judge_fidelity(meter.measure(request_for(file, read_mlx_source(source))), FidelityThresholds())
    assert verdict.outcome == "failed"
    assert verdict.detail.startswith(told)


def test_too_strong_is_as_wrong_as_too_weak(source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    file, opened = remap(source, SMALL, shipped), read_mlx_source(source)
    for factor in (1 / 8, 8.0):
        report = meter.measure(request_for(file, opened.scaled(factor)))
        assert {round(layer.share_kept * factor, 4) for layer in report.layers} == {1.0}
        assert not is_passed(report)


def test_what_the_source_does_not_name_must_not_change(source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    left_out = "double_blocks.0.txt_attn.qkv"
    report = meter.measure(request_for(remap(source, SMALL, shipped), read_mlx_source(source).without(left_out)))
    assert [layer.layer for layer in report.extra] == [
        f"transformer_blocks.0.attn.add_{part}_proj" for part in ("q", "k", "v")
    ]
    assert judge_fidelity(report, FidelityThresholds()).detail.startswith("3 layers changed to which the source adds")


def test_a_source_for_another_model_is_missed_by_name(shipped: DataDir, tmp_path: Path, meter: FidelityMeter) -> None:
    larger = replace(SMALL, single_blocks=2)
    source = save(tmp_path / "mlx.safetensors", mlx_tensors(larger))
    report = meter.measure(request_for(remap(source, larger, shipped), read_mlx_source(source)))
    assert {layer.slot for layer in report.missed} == {
        f"single_blocks.1.{kind}" for kind in ("linear1", "linear2", "modulation.lin")
    }
    assert report.missed[0].norm_wanted > 0
    wider = replace(SMALL, hidden_size=8)
    told = meter.measure(request_for(remap(source, larger, shipped), read_mlx_source(source), wider))
    assert "the source has 4 inputs and 12 outputs, the model 8 and 24" in told.problems


def test_an_update_of_zero_is_applied_as_zero(source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    """Whether such an adapter is any good is for the pictures to tell."""
    save_file({name: np.zeros_like(array) for name, array in load_file(source).items()}, source)
    report = meter.measure(request_for(remap(source, SMALL, shipped), read_mlx_source(source)))
    assert is_passed(report)
    assert report.relative_error == 0


def test_a_file_that_cannot_be_read_is_an_error(source: Path, meter: FidelityMeter) -> None:
    cut = source.with_name("cut.safetensors")
    cut.write_bytes(source.read_bytes()[:-4])
    with pytest.raises(AdapterError, match="cut off"):
        meter.measure(request_for(cut, read_mlx_source(source)))


def test_bits_without_a_bake_mean_nothing(source: Path, meter: FidelityMeter) -> None:
    with pytest.raises(ValueError, match="not baked"):
        meter.measure(request_for(source, read_mlx_source(source), bits=8))


# --- baked


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory, shipped: DataDir) -> tuple[Path, MlxSource]:
    """A file for tiny-flux whose updates are small, as trained ones are: 0.0003 against weights of 0.05."""
    source = save(tmp_path_factory.mktemp("faint") / "mlx.safetensors", mlx_tensors(TINY, rank=4))
    arrays = load_file(source)
    save_file({n: a * np.float32(3e-4 if n.endswith("b") else 256**-0.5) for n, a in arrays.items()}, source)
    return remap(source, TINY, shipped), read_mlx_source(source)


@pytest.mark.parametrize(
    ("more", "least", "most"),
    [
        ({}, 0.999, 1.001),
        ({"dtype": "bfloat16"}, 0.40, 0.50),
        ({"dtype": "bfloat16", "bits": 8}, 0.25, 0.36),
        ({"dtype": "bfloat16", "bits": 4}, 0.17, 0.28),
    ],
    ids=["float32", "bfloat16", "8 bits", "4 bits"],
)
def test_a_bake_keeps_the_less_the_coarser_the_weights(
    more: dict[str, object], least: float, most: float, faint: tuple[Path, MlxSource], meter: FidelityMeter
) -> None:
    """Into the real tiny-flux; a report on mflux measured 22 % at 4 bits. mflux's own figure says the same."""
    report = meter.measure(request_for(*faint, TINY, is_baked=True, **more))
    assert (report.base_weights, len(report.layers), report.problems) == ("real", 52, ())
    assert least < report.share_kept < most
    assert report.loader_share_kept == pytest.approx(report.share_kept, abs=1e-3)
    assert is_passed(report) == (not more)
    assert is_passed(meter.measure(request_for(*faint, TINY)))  # as pictures are rendered, nothing is lost


def test_a_bake_of_a_wrong_shape_is_told(source: Path, shipped: DataDir, meter: FidelityMeter) -> None:
    file = remap(source, SMALL, shipped)
    arrays = load_file(file)
    _wrong_width(arrays)
    save_file(arrays, file)
    report = meter.measure(request_for(file, read_mlx_source(source), is_baked=True))
    assert report.base_weights == "random"
    (problem,) = report.problems
    assert problem.startswith("transformer_blocks.0.attn.to_out.0: mflux did not apply it: LoRA shape mismatch")


# --- memory


@pytest.mark.long
def test_flux1_dev_s_widest_layers_take_little_memory(tmp_path: Path, shipped: DataDir) -> None:
    """One block of each kind at flux1-dev's widths, in a process of its own: 481 million numbers, 1.9 GB in float32."""
    script = (
        "import sys; from pathlib import Path;"
        "from sq_pipeline_tests.engines.mflux.test_fidelity import measure_wide_blocks;"
        "print(*measure_wide_blocks(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    layers, error, peak_bytes = done.stdout.split()
    assert int(layers) == 20
    assert float(error) < 1e-6
    assert int(peak_bytes) < 2 * 2**30


def measure_wide_blocks(folder: Path) -> tuple[int, float | None, int]:
    """Layers, the largest relative error, and the peak memory of this process in bytes."""
    from sq_pipeline.common.layout import shipped_data_root

    shipped = DataDir(shipped_data_root())
    blocks = replace(BASE_MODELS["flux1-dev"], double_blocks=1, single_blocks=1)
    source = save(folder / "mlx.safetensors", mlx_tensors(blocks, rank=8))
    file = remap(source, blocks, shipped)
    report = factory.fidelity_meter(shipped).measure(request_for(file, read_mlx_source(source), blocks))
    unit = 1 if sys.platform == "darwin" else 1024
    return len(report.layers), report.relative_error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
