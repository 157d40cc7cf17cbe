"""A FLUX.1 opened for a training, from the folder that mflux reads or with BFL's single file in it."""

import shlex
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.training_parts import FluxParts, open_flux_parts
from sq_pipeline.engines.flux.weights import dims_of

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx
from mlx.utils import tree_flatten

from sq_pipeline.base_models import files
from sq_pipeline_tests.engines.flux.encoder_folders import SMALL, t5_shard, write_encoders
from sq_pipeline_tests.engines.flux.flux_files import bfl_arrays, diffusers_arrays, write_diffusers

DEV = replace(BASE_MODELS["flux1-dev"], hidden_size=128, double_blocks=1, single_blocks=1, t5_token_budget=24)
DIMS = replace(dims_of(DEV), text_size=SMALL.text_size, pooled_size=SMALL.pooled_size)
ARRAYS = diffusers_arrays(DIMS, seed=4)
PARTS = ("text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2")


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the hub, neither online nor of this machine's cache."""

    def never(*_arguments: object) -> None:
        raise AssertionError("nothing may be fetched unasked")

    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("encoders"))


def link_encoders(folder: Path, encoders: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (folder / part).symlink_to(encoders / part)


def open_parts(data: DataDir) -> FluxParts:
    return open_flux_parts(DEV, data, mx.float32, dims=DIMS, encoder_dims=SMALL)


@pytest.mark.parametrize("layout", ["transformer/", "BFL's file"])
def test_a_training_reads_texts_pictures_and_the_transformer(layout: str, encoders: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    folder = data.models_root / "flux1-dev"
    link_encoders(folder, encoders)
    if layout == "transformer/":
        write_diffusers(folder, ARRAYS)
    else:
        save_file(bfl_arrays(DIMS, ARRAYS), folder / "flux1-dev.safetensors")
    before = mx.get_active_memory()
    parts = open_parts(data)
    assert mx.get_active_memory() - before < 100  # MLX's random key at most
    text, pooled = parts.encoders.encode_captions(["a mill", "dust"])
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    tokens = parts.encoders.encode_pictures(pixels)
    parts.encoders.free()
    network = parts.load_network(None)
    assert not tree_flatten(network.trainable_parameters())
    prediction = network(tokens, text, pooled, mx.array([0.5, 0.5]), (2, 3), mx.array([4.0, 4.0]))
    assert prediction.shape == (2, 6, 64)
    assert bool(mx.all(mx.isfinite(prediction)))
    assert float(mx.abs(prediction[0] - prediction[1]).max()) > 0.01
    assert parts.encoders.decode(tokens, (2, 3)).shape == pixels.shape
    _, folder_of_encoders = files.training_places(DEV, data)
    assert folder_of_encoders == folder
    assert files.base_model_weights_hash("flux1-dev", data).startswith("sha256:")


def test_the_hash_is_of_the_single_file_too(encoders: Path, tmp_path: Path) -> None:
    """Another transformer is another base model."""
    hashes: set[str] = set()
    for seed in (4, 5):
        data = DataDir(tmp_path / str(seed))
        link_encoders(data.models_root / "flux1-dev", encoders)
        arrays = bfl_arrays(DIMS, diffusers_arrays(DIMS, seed))
        save_file(arrays, data.models_root / "flux1-dev" / "flux1-dev.safetensors")
        hashes.add(files.base_model_weights_hash("flux1-dev", data))
    assert len(hashes) == 2


def test_faults_of_all_parts_come_at_once(encoders: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    folder = data.models_root / "flux1-dev"
    folder.mkdir(parents=True)
    q = "transformer_blocks.0.attn.to_q.weight"
    write_diffusers(folder, {name: array for name, array in ARRAYS.items() if name != q})
    for part in ("text_encoder", "tokenizer"):
        (folder / part).symlink_to(encoders / part)
    (folder / "text_encoder_2").mkdir()
    for path in (encoders / "text_encoder_2").iterdir():
        if path.name != t5_shard(1):
            (folder / "text_encoder_2" / path.name).symlink_to(path)
    with pytest.raises(BaseModelError) as caught:
        open_parts(data)
    found = {(Path(fault.file).relative_to(folder).as_posix(), fault.field) for fault in caught.value.faults}
    assert found == {("transformer", q), (f"text_encoder_2/{t5_shard(1)}", ""), ("vae", ""), ("tokenizer_2", "")}
    (fault,) = (fault for fault in caught.value.faults if fault.file.endswith("vae"))
    assert f"`hf download black-forest-labs/FLUX.1-dev --local-dir {shlex.quote(str(folder))}`" in fault.hint


def test_what_is_missing_is_named_with_the_commands_that_get_it(encoders: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "a b")
    folder = data.models_root / "flux1-dev"
    for opened in (lambda: files.training_places(DEV, data), lambda: open_parts(data)):
        with pytest.raises(BaseModelError, match="is not on this machine; accept the licence") as caught:
            opened()
        assert "`hf download black-forest-labs/FLUX.1-dev`" in str(caught.value)
    folder.mkdir(parents=True)
    (folder / "vae").symlink_to(encoders / "vae")
    with pytest.raises(BaseModelError) as caught:
        files.training_places(DEV, data)
    (fault,) = caught.value.faults
    assert fault.file == "models/flux1-dev"
    missing = "text_encoder, text_encoder_2, tokenizer, tokenizer_2"
    assert fault.problem == (
        f"flux1-dev is not whole on this machine (transformer/ or flux1-dev.safetensors, {missing} missing)"
    )
    for word in (
        "accept the licence",
        "`hf auth login`",
        "--include 'transformer/*' --include 'text_encoder/*'",
        f"--include 'tokenizer_2/*' --local-dir '{folder}'`",
    ):
        assert word in fault.hint
    (folder / "flux1-dev.safetensors").touch()
    with pytest.raises(BaseModelError) as caught:
        files.training_places(DEV, data)
    assert "transformer" not in caught.value.faults[0].problem
    assert "transformer" not in caught.value.faults[0].hint


def test_the_hub_s_cache_is_a_place_too(encoders: Path, tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    repository = tmp_path / "hub" / "models--black-forest-labs--FLUX.1-dev"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    link_encoders(snapshot, encoders)
    with pytest.raises(BaseModelError, match=r"\(transformer/ or flux1-dev.safetensors missing\)") as caught:
        files.training_places(DEV, data)
    assert "`hf download black-forest-labs/FLUX.1-dev --include 'transformer/*'`" in str(caught.value)
    save_file(bfl_arrays(DIMS, ARRAYS), snapshot / "flux1-dev.safetensors")
    assert files.training_places(DEV, data) == (snapshot / "flux1-dev.safetensors", snapshot)
    assert isinstance(open_parts(data), FluxParts)


def test_tiny_flux_has_one_place(shipped: DataDir) -> None:
    folder = shipped.models_root / "tiny-flux"
    assert files.training_places(BASE_MODELS["tiny-flux"], shipped) == (folder, folder)
