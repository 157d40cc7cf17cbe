"""FLUX.1's encoders as they are published, read for a training: texts and latents are the ones mflux renders with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError, TrainingError
from sq_pipeline.engines.flux import encoders as flux_encoders
from sq_pipeline.engines.flux.encoder_files import EncoderFiles, check_encoders
from sq_pipeline.engines.flux.encoder_tensors import CLIP, PARTS, T5, VAE, EncoderDims, EncoderPart
from sq_pipeline.engines.flux.encoders import FluxEncoders

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.latent_creator.latent_creator import LatentCreator
from mflux.models.common.tokenizer import TokenizerLoader
from mflux.models.common.vae.vae_util import VAEUtil
from mflux.models.common.weights.loading.weight_applier import WeightApplier
from mflux.models.common.weights.loading.weight_loader import WeightLoader
from mflux.models.common.weights.mapping.weight_mapper import WeightMapper
from mflux.models.flux.latent_creator.flux_latent_creator import FluxLatentCreator
from mflux.models.flux.model.flux_text_encoder.clip_encoder.clip_encoder import CLIPEncoder
from mflux.models.flux.model.flux_text_encoder.prompt_encoder import PromptEncoder
from mflux.models.flux.model.flux_text_encoder.t5_encoder.t5_encoder import T5Encoder
from mflux.models.flux.model.flux_vae.vae import VAE as VaeNetwork
from mflux.models.flux.weights.flux_weight_definition import FluxWeightDefinition
from mflux.utils.image_util import ImageUtil
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline_tests.engines.flux.encoder_folders import SMALL, write_encoders

BUDGET = 40
SCHNELL = replace(BASE_MODELS["flux1-schnell"], t5_token_budget=BUDGET)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "text_encoder": CLIPEncoder,
    "text_encoder_2": T5Encoder,
    "vae": VaeNetwork,
}
CAPTIONS = ("a mill, the last water", "mill", "a rider's dust, far off")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("flux1-schnell"))


@pytest.fixture(scope="module")
def files(root: Path) -> EncoderFiles:
    return check_encoders(root, SCHNELL, SMALL)


@pytest.fixture
def encoders(files: EncoderFiles) -> FluxEncoders:
    return FluxEncoders(files, mx.float32)


class Mflux:
    """mflux's encoders over the same folder, brought there by mflux's own loader."""

    class Definition(FluxWeightDefinition):
        @staticmethod
        def get_components() -> list[Any]:
            return [part for part in FluxWeightDefinition.get_components() if part.name != "transformer"]

    def __init__(self, root: Path) -> None:
        self.vae, self.t5, self.clip = VaeNetwork(), T5Encoder(), CLIPEncoder()
        WeightApplier.apply_and_quantize(
            weights=WeightLoader.load(self.Definition, str(root)),
            models={"vae": self.vae, "t5_encoder": self.t5, "clip_encoder": self.clip},
            quantize_arg=None,
            weight_definition=self.Definition,
        )
        self.tokenizers = TokenizerLoader.load_all(
            FluxWeightDefinition.get_tokenizers(), str(root), max_length_overrides={"t5": BUDGET}
        )

    def text(self, prompt: str) -> tuple[mx.array, mx.array]:
        tokenizers = self.tokenizers["t5"], self.tokenizers["clip"]
        return PromptEncoder.encode_prompt(prompt, {}, *tokenizers, self.t5, self.clip)


@pytest.fixture(params=[mx.float32, mx.bfloat16], ids=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> mx.Dtype:
    """What mflux computes in."""
    monkeypatch.setattr(ModelConfig, "precision", request.param)
    return request.param


# --- names and shapes


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.part.folder)
def test_the_tensors_are_those_that_mflux_s_networks_are_made_of(part: EncoderPart) -> None:
    """At full size: every name through mflux's mapping, every shape as mflux's network has it, and nothing else."""
    component = next(c for c in FluxWeightDefinition.get_components() if c.hf_subdir == part.part.folder)
    assert component.mapping_getter is not None
    empty = {name: mx.zeros(shape) for name, shape in part.shapes(EncoderDims()).items()}  # lazy, never evaluated
    assert not WeightMapper.missing_required_names(empty, component.mapping_getter(), component.num_blocks)
    mapped = WeightMapper.apply_mapping(empty, component.mapping_getter(), component.num_blocks)
    wanted = {name: array.shape for name, array in tree_flatten(NETWORKS[part.part.folder]().parameters())}
    assert {name: array.shape for name, array in tree_flatten(mapped)} == wanted


def test_the_sizes_are_those_of_the_published_files() -> None:
    """Parameters: T5-XXL's index says 9,524,621,312 bytes in bfloat16; the VAE's header 83,819,683 numbers."""
    counts = {
        part.part.folder: sum(int(np.prod(shape)) for shape in part.shapes(EncoderDims()).values()) for part in PARTS
    }
    assert counts == {"text_encoder_2": 9_524_621_312 // 2, "vae": 83_819_683, "text_encoder": 123_060_480}


# --- values


def test_texts_are_mflux_s(root: Path, files: EncoderFiles, dtype: mx.Dtype) -> None:
    text, pooled = FluxEncoders(files, dtype).encode_captions(CAPTIONS)
    assert text.shape == (3, BUDGET, SMALL.text_size)
    assert pooled.shape == (3, SMALL.pooled_size)
    mflux = Mflux(root)
    for index, caption in enumerate(CAPTIONS):
        their_text, their_pooled = mflux.text(caption)
        assert (text.dtype, pooled.dtype) == (their_text.dtype, their_pooled.dtype)
        assert bool(mx.array_equal(text[index : index + 1], their_text))
        assert bool(mx.array_equal(pooled[index : index + 1], their_pooled))
        assert float(mx.abs(text[index] - text[index - 1]).max()) > 0.1
        assert float(mx.abs(pooled[index] - pooled[index - 1]).max()) > 0.1


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_latents_and_pictures_are_mflux_s(root: Path, files: EncoderFiles, dtype: mx.Dtype, tmp_path: Path) -> None:
    height, width = 48, 32
    pixels = np.stack([picture(height, width, seed) for seed in (1, 2)])
    ours = FluxEncoders(files, dtype)
    tokens = ours.encode_pictures(pixels)
    assert (tokens.shape, tokens.dtype) == ((2, 6, 64), mx.float32)
    mflux = Mflux(root)
    for index in range(2):
        Image.fromarray(pixels[index]).save(tmp_path / "picture.png")
        latents = LatentCreator.encode_image(mflux.vae, tmp_path / "picture.png", height, width)
        theirs = FluxLatentCreator.pack_latents(latents, height, width)
        assert bool(mx.array_equal(tokens[index : index + 1], theirs.astype(mx.float32)))
    decoded = ours.decode(tokens, (3, 2))
    assert (decoded.shape, decoded.dtype) == ((2, height, width, 3), np.uint8)
    for index in range(2):
        latents = FluxLatentCreator.unpack_latents(tokens[index : index + 1], height, width)
        assert np.array_equal(decoded[index], np.asarray(ImageUtil.to_pil(VAEUtil.decode(mflux.vae, latents))))
    assert decoded.std() > 10
    assert not np.array_equal(decoded[0], decoded[1])


def test_another_dtype_leaves_mflux_s_as_it_was(encoders: FluxEncoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelConfig, "precision", mx.float16)
    encoders.encode_captions(["mill"])
    encoders.encode_pictures(picture(16, 16)[None])
    assert ModelConfig.precision == mx.float16
    with pytest.raises(ValueError, match="sides are multiples of 16 px, not 16 × 24"):
        encoders.encode_pictures(picture(16, 24)[None])
    with pytest.raises(ValueError, match="uint8, not"):
        encoders.encode_pictures(picture(16, 16)[None].astype(np.float32))


# --- captions


def count_calls(monkeypatch: pytest.MonkeyPatch, network: type[nn.Module]) -> list[int]:
    calls: list[int] = []
    forward = network.__call__

    def counted(self: nn.Module, tokens: mx.array) -> mx.array:
        calls.append(tokens.shape[0])
        return forward(self, tokens)

    monkeypatch.setattr(network, "__call__", counted)
    return calls


def test_150_examples_with_one_caption_encode_it_once(encoders: FluxEncoders, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = {network: count_calls(monkeypatch, network) for network in (T5Encoder, CLIPEncoder)}
    text, pooled = encoders.encode_captions(["mill"] * 150)
    assert [calls[network] for network in calls] == [[1], [1]]
    assert (text.shape[0], pooled.shape[0]) == (150, 150)
    assert bool(mx.all(text == text[:1]))
    calls[T5Encoder].clear()
    mixed, _ = encoders.encode_captions(["mill", "dust", "mill"])
    assert calls[T5Encoder] == [1, 1]
    assert bool(mx.array_equal(mixed[2], text[0]))
    assert not bool(mx.array_equal(mixed[1], text[0]))


def test_an_empty_caption_is_an_end_mark_and_padding(encoders: FluxEncoders, files: EncoderFiles) -> None:
    """mflux has no tokens for it; a dropped caption needs as many as any other."""
    text, pooled = encoders.encode_captions(["", "mill"])
    assert text.shape == (2, BUDGET, SMALL.text_size)
    assert bool(mx.all(mx.isfinite(text)))
    assert bool(mx.all(mx.isfinite(pooled)))
    ids = files.tokenizers["t5"].tokenize("", keep_empty=True).input_ids[0].tolist()
    assert ids == [1] + [0] * (BUDGET - 1)


def test_captions_that_t5_would_cut_are_named_all_at_once(encoders: FluxEncoders) -> None:
    fits, too_long = "a" * (BUDGET - 2), "b" * BUDGET  # a word's letters, its beginning and the end mark
    encoders.encode_captions([fits])
    with pytest.raises(TrainingError) as caught:
        encoders.encode_captions([too_long, fits, "c" + too_long])
    assert [fault.problem for fault in caught.value.faults] == [
        f"has {BUDGET + 2} tokens, {BUDGET} are read",
        f"has {BUDGET + 3} tokens, {BUDGET} are read",
    ]


# --- memory


def weight_bytes(part: EncoderPart, prefix: str = "") -> int:
    return 4 * sum(int(np.prod(shape)) for name, shape in part.shapes(SMALL).items() if name.startswith(prefix))


def test_one_network_is_in_memory_at_a_time(encoders: FluxEncoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured as each one is loaded, and after it was let go of."""
    mx.clear_cache()
    before = mx.get_active_memory()
    loaded: list[int] = []
    load = flux_encoders.load_part

    def measured(*arguments: Any) -> Any:
        start = mx.get_active_memory()
        network = load(*arguments)
        loaded.append(mx.get_active_memory() - start)
        assert start - before < 200_000  # what was encoded so far, but no network
        return network

    monkeypatch.setattr(flux_encoders, "load_part", measured)
    encoders.encode_pictures(picture(16, 16)[None])
    encoders.encode_captions(["mill"])
    encoders.encode_pictures(picture(16, 16)[None])
    encoders.encode_pictures(picture(16, 16)[None])
    encoders.decode(mx.zeros((1, 1, 64)), (1, 1))
    halves = weight_bytes(VAE, "encoder."), weight_bytes(VAE, "decoder.")
    wanted = (halves[0], weight_bytes(T5), weight_bytes(CLIP), *halves)
    assert loaded == pytest.approx(wanted, rel=0.01)
    encoders.free()
    assert mx.get_active_memory() - before < 200_000


def test_a_file_that_goes_after_its_check_is_a_fault(tmp_path: Path) -> None:
    root = write_encoders(tmp_path / "copy")
    encoders = FluxEncoders(check_encoders(root, SCHNELL, SMALL), mx.float32)
    (root / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"diffusion_pytorch_model\.safetensors: cannot be read"):
        encoders.encode_pictures(picture(16, 16)[None])
