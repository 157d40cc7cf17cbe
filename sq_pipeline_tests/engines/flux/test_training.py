"""A whole training over FLUX.1-dev's files as they are published, at reduced width: encoders, weights, all settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.base_models.base_models import BASE_MODELS, Dtype, SizePx
from sq_pipeline.common.errors import TrainingError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import device_memory, factory
from sq_pipeline.engines.flux.encoders import FluxEncoders
from sq_pipeline.engines.flux.training_parts import open_flux_parts
from sq_pipeline.engines.flux.weights import dims_of
from sq_pipeline.engines.trainers.mlx import base, trainer
from sq_pipeline.engines.trainers.mlx.validation_loss import MlxValidationMeter
from sq_pipeline.training.memory import BaseBits, TrainingSettings, weight_bytes
from sq_pipeline.training.ports import CheckpointPlace, TrainingExample, TrainRequest, ValidationRequest
from sq_pipeline.training.recipe import Recipe

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline_tests.engines.flux.encoder_folders import SMALL, write_encoders
from sq_pipeline_tests.engines.flux.flux_files import diffusers_arrays, write_diffusers

pytestmark = pytest.mark.takes(s=40)

DEV = replace(
    BASE_MODELS["flux1-dev"],
    hidden_size=128,
    double_blocks=1,
    single_blocks=2,
    t5_token_budget=12,
    num_inference_steps=2,
    training_size=SizePx(48, 32),
)
DIMS = replace(dims_of(DEV), text_size=SMALL.text_size, pooled_size=SMALL.pooled_size)
RECIPE = Recipe(
    trigger="mill", rank=2, iterations=4, grad_accumulation=2, warmup_steps=0, checkpoint_interval=2, sample_interval=4
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    data = DataDir(tmp_path_factory.mktemp("models"))
    write_encoders(data.models_root / "flux1-dev")
    write_diffusers(data.models_root / "flux1-dev", diffusers_arrays(DIMS, seed=4))
    return data


@pytest.fixture(autouse=True)
def _reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUX.1-dev's widths are written into mflux and into the registry of base models: here they are small ones."""

    def open_reduced(_base_model: object, data: DataDir, dtype: mx.Dtype):
        return open_flux_parts(DEV, data, dtype, dims=DIMS, encoder_dims=SMALL)

    monkeypatch.setattr(base, "open_flux_parts", open_reduced)
    monkeypatch.setattr("sq_pipeline.training.plan.resolve_base_model", lambda _name: DEV)


@pytest.fixture(scope="module")
def pairs(examples: tuple[TrainingExample, ...]) -> tuple[TrainingExample, ...]:
    return tuple(replace(example, caption="a mill") for example in examples[:10])


def request_for(folder: Path, pairs: tuple[TrainingExample, ...], **changes: object) -> TrainRequest:
    recipe = Recipe.model_validate({**RECIPE.model_dump(), **changes})
    place = CheckpointPlace(folder / "checkpoints", "sha256:dev")
    return TrainRequest("flux1-dev", pairs, recipe, folder / "a.safetensors", place, ("a mill of dust",))


def test_it_trains_samples_and_measures(
    models: DataDir, pairs: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("encode_groups", "encode_pictures", "free"):
        original = getattr(FluxEncoders, name)

        def note(self: FluxEncoders, *given: object, _name: str = name, _original: object = original):
            order.append(_name)
            return _original(self, *given)  # type: ignore[operator]

        monkeypatch.setattr(FluxEncoders, name, note)
    load = trainer.prepare.__globals__["add_prior"]
    monkeypatch.setattr(trainer, "add_prior", lambda *given: order.append("transformer") or load(*given))
    request = request_for(tmp_path, pairs)
    result = factory.trainer(models).train(request, lambda _: None)
    # texts once, and nothing of the encoders when the transformer comes
    assert order.count("encode_groups") == 1
    assert order.index("transformer") > max(at for at, name in enumerate(order) if name.startswith("encode"))
    assert order[order.index("transformer") - 1] == "free"
    names = open_safetensors(request.output_path).tensors
    assert len(names) == result.tensors == DEV.adapter_tensors
    assert [at for at, _ in result.validation] == [0, 2, 4]
    assert [at for at, _ in result.samples] == [0, 4]
    assert result.settings == {"base_bits": 16, "gradient_checkpointing": False}
    asked = ValidationRequest("flux1-dev", pairs, request.recipe, (AdapterUse(request.output_path, 1.0),))
    measured = MlxValidationMeter(models).measure(asked)
    assert measured is not None
    assert [measured.base, *measured.losses] == pytest.approx(
        [result.validation[0][1], result.validation[-1][1]], rel=1e-4
    )


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_base_trains_and_is_told(
    models: DataDir, pairs: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    seen: list[nn.Module] = []
    go_on = trainer.add_recipe_lora
    monkeypatch.setattr(trainer, "add_recipe_lora", lambda net, recipe: seen.append(net) or go_on(net, recipe))
    plain, request = request_for(tmp_path / "plain", pairs), request_for(tmp_path / "q", pairs, base_bits=bits)
    unquantized = factory.trainer(models).train(plain, lambda _: None)
    result = factory.trainer(models).train(request, lambda _: None)
    assert result.settings["base_bits"] == bits
    quantized = [module for module in seen[-1].modules() if isinstance(module, nn.QuantizedLinear)]
    assert len(quantized) == DEV.adapter_modules
    assert all(map(mx.isfinite, map(mx.array, result.losses)))
    assert result.losses != unquantized.losses
    assert open_safetensors(request.output_path).tensors.keys() == open_safetensors(plain.output_path).tensors.keys()


def test_checkpointing_changes_nothing_and_is_continued_as_itself(
    models: DataDir, pairs: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # random weights know nothing: their loss is that of a blank prediction, which would be no moment for a checkpoint
    monkeypatch.setattr(trainer, "is_doubtful", lambda _loss, _blank: False)
    plain = request_for(tmp_path / "plain", pairs)
    spared = request_for(tmp_path / "spared", pairs, gradient_checkpointing=True)

    def interrupt(progress: object) -> None:
        if getattr(progress, "iteration", 0) == 3:
            raise KeyboardInterrupt

    losses = factory.trainer(models).train(plain, lambda _: None).losses
    with pytest.raises(KeyboardInterrupt):
        factory.trainer(models).train(spared, interrupt)
    result = factory.trainer(models).train(spared, lambda _: None)
    assert result.resumed_at == (2,)
    assert result.settings["gradient_checkpointing"] is True
    assert result.losses == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize(("computing", "dtype"), [("float32", mx.float32), ("bfloat16", mx.bfloat16)])
@pytest.mark.parametrize("bits", [16, 4])
def test_it_is_loaded_in_what_its_memory_is_counted_in(
    computing: Dtype, dtype: mx.Dtype, bits: BaseBits, models: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "computing_dtype", lambda: computing)
    opened = base.open_training_base(DEV, models)
    network = opened.load_network(TrainingSettings(bits, gradient_checkpointing=False))
    arrays = dict(tree_flatten(network.parameters()))
    assert opened.dtype == dtype
    assert {array.dtype for array in arrays.values()} == {dtype} | ({mx.uint32} if bits == 4 else set())
    # the width of T5 and of CLIP is a small one here
    widths = (4096 - DIMS.text_size + 768 - DIMS.pooled_size) * DEV.hidden_size * dtype.size
    assert weight_bytes(DEV, bits, computing) - widths == sum(array.nbytes for array in arrays.values())


def test_what_does_not_fit_is_said_before_anything_is_loaded(
    models: DataDir, pairs: tuple[TrainingExample, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "usable_bytes", lambda: 10_000_000)
    monkeypatch.setattr(FluxEncoders, "encode_groups", None)
    assert device_memory.usable_bytes() > 10_000_000
    with pytest.raises(TrainingError, match=r"and there are 0\.0 GiB"):
        factory.trainer(models).train(request_for(tmp_path, pairs), lambda _: None)
