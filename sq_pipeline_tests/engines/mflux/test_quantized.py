"""tiny-flux rendered at 8 and 4 bits: what is quantized, what an adapter keeps of itself there, and what a bake would.

What becomes of it in the whole line is in `pipeline`; the other families are in `test_families_quantized`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap_files import select_keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import FLUX1_MODELS, RENDER_BITS, Flux1Model, RenderBits, SizePx, quantized
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import factory
from sq_pipeline.engines.mflux import ready_stacks
from sq_pipeline.pictures.ports import RenderRequest
from sq_pipeline.verification.fidelity import FidelityReport
from sq_pipeline.verification.gate_limits import Limits
from sq_pipeline.verification.measure_fidelity import measure_fidelity
from sq_pipeline.verification.ports import FidelityMeter, FidelityRequest
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.thresholds import FidelityThresholds, Thresholds
from sq_pipeline.verification.verdicts import judge_fidelity
from sq_pipeline.verification.verify import VerificationReport, VerifyRequest, verify_adapter
from sq_pipeline_tests.adapters.files import mlx_tensors, save
from sq_pipeline_tests.adapters.sources import read_mlx_source
from sq_pipeline_tests.fakes import FakeValidationMeter
from sq_pipeline_tests.serve.adapters import write_adapter

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.common.lora.layer.fused_linear_lora_layer import FusedLoRALinear
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.base_models import files
from sq_pipeline.engines.mflux.adapter_stack import AdapterStack
from sq_pipeline.engines.mflux.dtype import use_float32
from sq_pipeline.engines.mflux.loader_targets import layers_of, mapping_for
from sq_pipeline.engines.mflux.pipelines import open_pipeline
from sq_pipeline.engines.mflux.renderer import MfluxRenderer
from sq_pipeline.engines.module_paths import get_module

TINY = FLUX1_MODELS["tiny-flux"]
REQUEST = RenderRequest("tiny-flux", "an old windmill on the left of the meadow at noon", 7, 2, 48, 32, None)
_STRENGTHS = {"faint": 3e-4, "strong": 3e-3, "bold": 3e-2}  # of an update's numbers; the weights' are about 0.05


@dataclass(frozen=True)
class Adapter:
    """A file as it is trained, and as it is remapped for mflux."""

    trained: Path
    remapped: Path

    @property
    def use(self) -> AdapterUse:
        return AdapterUse(self.remapped, 1.0)


def make_adapter(folder: Path, shipped: DataDir, strength: float, rank: int = 4) -> Adapter:
    trained, remapped = save(folder / "mlx.safetensors", mlx_tensors(TINY, rank=rank)), folder / "mflux.safetensors"
    factors = {"a": 256**-0.5, "b": strength}
    save_file({name: a * np.float32(factors[name[-1]]) for name, a in load_file(trained).items()}, trained)
    remap_adapter(trained, remapped, select_keymap(shipped.keymaps_root, "mflux", "0.24.0"), TINY)
    return Adapter(trained, remapped)


@pytest.fixture(scope="module", params=RENDER_BITS, ids=lambda bits: f"{bits} bits")
def model(request: pytest.FixtureRequest) -> Flux1Model:
    bits: RenderBits = request.param
    return quantized(TINY, bits)


@pytest.fixture(scope="module")
def transformer(model: Flux1Model, shipped: DataDir) -> nn.Module:
    use_float32()
    return open_pipeline(model, files.base_model_folder(model, shipped)).transformer


@pytest.fixture(scope="module")
def meter(shipped: DataDir) -> FidelityMeter:
    return factory.fidelity_meter(shipped)


@pytest.fixture(scope="module")
def own(shipped: DataDir) -> MfluxRenderer:
    return MfluxRenderer(shipped, 1 << 28)


@pytest.fixture(scope="module")
def faint(shipped: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return make_adapter(tmp_path_factory.mktemp("faint"), shipped, _STRENGTHS["faint"])


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in tree_flatten(module.parameters())}


def _base_of(patched: nn.Module) -> nn.QuantizedLinear:
    """The layer below the adapters on it."""
    base = patched.base_linear if isinstance(patched, FusedLoRALinear) else patched.linear
    assert isinstance(base, nn.QuantizedLinear)
    return base


def is_passed(report: FidelityReport) -> bool:
    return judge_fidelity(report, FidelityThresholds()).outcome == "passed"


def test_every_linear_layer_is_quantized_and_the_weights_are_small(model: Flux1Model, transformer: nn.Module) -> None:
    linear = {path: layer for path, layer in transformer.named_modules() if isinstance(layer, nn.Linear)}
    packed = [layer for _, layer in transformer.named_modules() if isinstance(layer, nn.QuantizedLinear)]
    assert (linear, {(layer.bits, layer.group_size) for layer in packed}) == ({}, {(model.render_bits, 64)})
    assert all(isinstance(get_module(transformer, layer.path), nn.QuantizedLinear) for layer in layers_of(model))
    byte_count = sum(array.nbytes for array in arrays_of(transformer).values())
    assert 0.15 < byte_count / 36_561_152 < {8: 0.29, 4: 0.16}[model.render_bits or 0]  # 8 + 2 · 32 / 64 of 32 bits


def test_the_picture_is_almost_that_of_the_full_weights(model: Flux1Model, own: MfluxRenderer) -> None:
    request = replace(REQUEST, width_px=64, height_px=48, num_inference_steps=4)
    plain = own.render(request).pixels.astype(int)
    difference = np.abs(own.render(replace(request, base_model=model.name)).pixels - plain)
    assert 0 < difference.mean() < {8: 0.5, 4: 6}[model.render_bits or 0]  # of 255


def test_ten_swaps_leave_every_packed_weight_scale_and_bias_as_it_was(
    model: Flux1Model, transformer: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_stacks, "_YOUNG_NS", 0)
    paths = [write_adapter(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    before = arrays_of(transformer)
    stack = AdapterStack(transformer, mapping_for(model), 1 << 28)
    for swap in range(10):
        uses = tuple(AdapterUse(path, 0.7) for path in paths[: 1 + swap % 3])
        assert all(applied.is_whole for applied in stack.use(uses))
        for layer in layers_of(model):
            below = arrays_of(_base_of(get_module(transformer, layer.path)))
            assert all(np.array_equal(array, before[f"{layer.path}.{name}"]) for name, array in below.items())
    assert (stack.swaps, stack.files_read) == (10, 6)
    stack.use(())
    after = arrays_of(transformer)
    assert after.keys() == before.keys()
    assert {name.rpartition(".")[2] for name in after} >= {"weight", "scales", "biases", "bias"}
    assert all(array.dtype == before[name].dtype for name, array in after.items())
    assert all(np.array_equal(array, before[name]) for name, array in after.items())


def test_an_adapter_changes_the_picture_and_leaves_no_trace(
    model: Flux1Model, own: MfluxRenderer, shipped: DataDir, tmp_path: Path
) -> None:
    request = replace(REQUEST, base_model=model.name)
    before = own.render(request).pixels
    styled = own.render(replace(request, adapters=(make_adapter(tmp_path, shipped, _STRENGTHS["strong"]).use,)))
    assert (styled.applied[0].is_whole, styled.applied[0].layers_patched) == (True, TINY.patched_layers)
    assert (styled.pixels != before).any(axis=-1).mean() >= 0.001
    assert own.render(request).pixels.tobytes() == before.tobytes()


# --- unbaked against baked


def _shares(transformer: nn.Module, model: Flux1Model, source: Path) -> tuple[float, float]:
    """What the layers answer with the adapter on, less what they answer without, against scale · B · A.

    The share kept, and the relative error; of the first inputs: MLX's quantized products are slow on a CPU.
    """
    wanted = read_mlx_source(source)
    along = length = error = 0.0
    for layer in layers_of(model):
        patched = get_module(transformer, layer.path)
        base = _base_of(patched)
        asked = mx.eye(32, layer.inputs)
        moved = np.array(patched(asked) - base(asked)).T.astype(np.float64)
        patch = wanted.patches[layer.module if layer.module in wanted.patches else layer.slot]
        update = (wanted.numbers(patch.up).astype(np.float64) @ wanted.numbers(patch.down)) * patch.scale
        update = update[slice(*layer.rows), :32]
        along, length = along + (moved * update).sum(), length + (update**2).sum()
        error += ((moved - update) ** 2).sum()
    return along / length, (error / length) ** 0.5


def test_unbaked_all_of_a_faint_update_is_there(model: Flux1Model, transformer: nn.Module, faint: Adapter) -> None:
    """In the answers of the very layers that pictures are rendered with."""
    stack = AdapterStack(transformer, mapping_for(model))
    stack.use((faint.use,))
    share, error = _shares(transformer, model, faint.trained)
    stack.use(())
    assert share == pytest.approx(1, abs=1e-5)
    assert error < 1e-3  # the least of the fidelity thresholds


def test_a_bake_loses_most_of_it(model: Flux1Model, meter: FidelityMeter, faint: Adapter) -> None:
    """mflux's own bake, which stores what it can of the sum at 8 bits even where the layer had 4."""
    request = FidelityRequest(model, faint.use, read_mlx_source(faint.trained))
    unbaked, baked = meter.measure(request), meter.measure(replace(request, is_baked=True))
    assert (unbaked.mode, unbaked.bits) == (f"unbaked over {model.render_bits}-bit weights, float32", model.render_bits)
    assert unbaked.share_kept == pytest.approx(1, abs=1e-6)
    assert unbaked.relative_error is not None
    assert unbaked.relative_error < 1e-6
    assert is_passed(unbaked)
    assert baked.mode == f"baked into real {model.render_bits}-bit weights, float32"
    assert baked.share_kept < 0.4
    assert baked.loader_share_kept == pytest.approx(baked.share_kept, abs=1e-3)
    assert baked.relative_error is not None
    assert baked.relative_error > 2
    assert not is_passed(baked)


def test_requantized_at_4_bits_a_strong_update_loses_a_part_too(
    shipped: DataDir, meter: FidelityMeter, tmp_path: Path
) -> None:
    """As loaders do it that know no other way: the sum of weights and update is quantized at the layer's own bits."""
    model, adapter = quantized(TINY, 4), make_adapter(tmp_path, shipped, _STRENGTHS["strong"])
    pipeline = open_pipeline(model, files.base_model_folder(model, shipped))
    wanted, errors = read_mlx_source(adapter.trained), list[float]()
    for layer in layers_of(model):
        base = get_module(pipeline.transformer, layer.path)
        layout = {"group_size": 64, "bits": 4}
        weight = mx.dequantize(base.weight, base.scales, base.biases, **layout)
        patch = wanted.patches[layer.module if layer.module in wanted.patches else layer.slot]
        update = (wanted.numbers(patch.up) @ wanted.numbers(patch.down) * patch.scale)[slice(*layer.rows)]
        moved = np.array(mx.dequantize(*mx.quantize(weight + mx.array(update), **layout), **layout) - weight)
        errors.append(float(np.linalg.norm(moved - update) / np.linalg.norm(update)))
    assert min(errors) > 0.5
    report = meter.measure(FidelityRequest(model, adapter.use, wanted))
    assert report.relative_error is not None
    assert report.relative_error < 1e-6


def test_bits_that_are_not_the_model_s_are_refused(model: Flux1Model, meter: FidelityMeter, faint: Adapter) -> None:
    other = {8: 4, 4: 8}[model.render_bits or 0]
    request = FidelityRequest(model, faint.use, read_mlx_source(faint.trained), is_baked=True)
    with pytest.raises(ValueError, match=f"{model.name} is not stored at {other} bits"):
        meter.measure(replace(request, bits=other))
    same = meter.measure(replace(request, bits=model.render_bits))
    assert same.as_json() == meter.measure(request).as_json()


# --- the gate


def _verify(adapter: Adapter, file: Path, own: MfluxRenderer, meter: FidelityMeter) -> VerificationReport:
    """Over tiny-flux-8bit with the real renderer, in small pictures."""
    model = replace(quantized(TINY, 8), num_inference_steps=2, sizes={"landscape": SizePx(48, 32)})
    use = AdapterUse(file, 1.0)
    prompts = VerifyPrompts.model_validate(
        {"version": 1, "control_word": "zqxv", "prompts": [{"prompt": "a tower in the snow at night", "seed": 3}]}
    )
    thresholds = Thresholds()
    measure = lambda: measure_fidelity(use, adapter.trained, model, meter)  # noqa: E731
    gate = Limits(None, thresholds.gate)
    request = VerifyRequest("a", use, "sha256:0", None, model, "landscape", prompts, thresholds, gate)
    return verify_adapter(request, measure, own, FakeValidationMeter())


def test_a_remapped_adapter_passes_verification(
    own: MfluxRenderer, shipped: DataDir, meter: FidelityMeter, tmp_path: Path
) -> None:
    adapter = make_adapter(tmp_path, shipped, _STRENGTHS["bold"])
    report = _verify(adapter, adapter.remapped, own, meter)
    assert report.has_passed, report.verdicts
    assert report.base_model == "tiny-flux-8bit"
    assert report.pictures_rendered == 3  # at its own strength and two others
    assert "52 of 52 layers" in report.verdicts[0].detail


def _swap_q_and_k(arrays: dict[str, np.ndarray]) -> None:
    up = arrays["lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight"]
    up[:512] = np.roll(up[:512], 256, axis=0)


def _other_block(arrays: dict[str, np.ndarray]) -> None:
    for half in ("down", "up"):
        first, second = (f"lora_unet_single_blocks_{at}_linear2.lora_{half}.weight" for at in (0, 1))
        arrays[first], arrays[second] = arrays[second], arrays[first]


def _misspell(arrays: dict[str, np.ndarray]) -> None:
    for half in ("down", "up"):
        name = f"lora_unet_double_blocks_0_img_attn_qkv.lora_{half}.weight"
        arrays[name.replace("qkv", "qkw")] = arrays.pop(name)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_swap_q_and_k, "relative error "),
        (_other_block, "relative error "),
        (_misspell, "3 of 52 layers were missed"),
    ],
)
def test_a_wrongly_mapped_one_does_not(
    spoil, told: str, own: MfluxRenderer, shipped: DataDir, meter: FidelityMeter, tmp_path: Path
) -> None:
    adapter, file = make_adapter(tmp_path, shipped, _STRENGTHS["bold"]), tmp_path / "spoilt.safetensors"
    arrays = {name: array.copy() for name, array in load_file(adapter.remapped).items()}
    spoil(arrays)
    save_file(arrays, file)
    report = _verify(adapter, file, own, meter)
    assert not report.has_passed
    assert report.verdicts[0].check == "adapter fidelity"
    assert report.verdicts[0].detail.startswith(told)
    assert not report.pictures
