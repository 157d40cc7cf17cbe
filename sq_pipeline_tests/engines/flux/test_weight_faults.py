"""Weights that are not what they should be: every fault at once, with file, field and hint, and no tensor is read."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.engines.flux.weights import dims_of, load_transformer

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx

from sq_pipeline_tests.engines.flux.flux_files import Arrays, bfl_arrays, diffusers_arrays, shard_name, write_diffusers

DEV = replace(BASE_MODELS["flux1-dev"], hidden_size=128, double_blocks=1, single_blocks=1)
DIMS = replace(dims_of(DEV), text_size=32, pooled_size=16)
ARRAYS = diffusers_arrays(DIMS, seed=1)
INDEX = "diffusion_pytorch_model.safetensors.index.json"
FIRST, SECOND, THIRD = (shard_name(number, 3) for number in (1, 2, 3))
Q, K = "transformer_blocks.0.attn.to_q.weight", "transformer_blocks.0.attn.to_k.weight"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9962580296\n"
GET = "hf download black-forest-labs/FLUX.1-dev"


@pytest.fixture(autouse=True)
def _no_reading_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("nothing may be read or fetched here")

    monkeypatch.setattr(mx, "load", never)
    monkeypatch.setattr(socket.socket, "connect", never)


def faults_of(place: Path) -> set[tuple[str, str]]:
    """File name and field of every fault; each says what is wrong and what to do."""
    with pytest.raises(BaseModelError) as caught:
        load_transformer(place, DEV, dims=DIMS)
    faults = caught.value.faults
    assert len(set(faults)) == len(faults)
    assert all(fault.problem and fault.hint for fault in faults)
    return {(Path(fault.file).name, fault.field) for fault in faults}


def text_of(place: Path) -> str:
    with pytest.raises(BaseModelError) as caught:
        load_transformer(place, DEV, dims=DIMS)
    return str(caught.value)


def edit_index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def shard_of(folder: Path, name: str) -> str:
    return json.loads((folder / INDEX).read_text())["weight_map"][name]


def rewrite(folder: Path, file: str, change: Callable[[Arrays], object]) -> None:
    arrays = load_file(folder / file)
    change(arrays)
    save_file(arrays, folder / file)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


# --- what is in the files


def without(*names: str) -> Arrays:
    return {name: array for name, array in ARRAYS.items() if name not in names}


@dataclass(frozen=True)
class Content:
    """Files in good order that hold the wrong tensors."""

    arrays: dict[str, np.ndarray]
    field: str
    problem: str


CONTENTS = {
    "missing": Content(without(Q), Q, "is missing"),
    "unknown": Content(ARRAYS | {"controlnet.weight": np.zeros((2, 2), np.float32)}, "controlnet.weight", "no tensor"),
    "a block too many": Content(
        ARRAYS | {"single_transformer_blocks.1.proj_mlp.bias": np.zeros(512, np.float32)},
        "single_transformer_blocks.1.proj_mlp.bias",
        "no tensor of this model",
    ),
    "misshapen": Content(ARRAYS | {K: np.zeros((128, 64), np.float32)}, K, "shape [128, 64], not [128, 128]"),
    "fused where it is not": Content(ARRAYS | {K: np.zeros((384, 128), np.float32)}, K, "shape [384, 128]"),
    "quantized": Content(ARRAYS | {K: np.zeros((128, 128), np.uint8)}, K, "holds U8, not BF16, F16, F32"),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("is_sharded", [True, False])
def test_wrong_tensors(name: str, is_sharded: bool, tmp_path: Path) -> None:
    content = CONTENTS[name]
    if is_sharded:
        write_diffusers(tmp_path, content.arrays)
        place = tmp_path
    else:
        place = tmp_path / "model.safetensors"
        save_file(content.arrays, place)
    assert {field for _, field in faults_of(place)} == {content.field}
    text = text_of(place)
    assert content.problem in text
    assert GET in text


def test_another_model_s_bfl_file(tmp_path: Path) -> None:
    """schnell's file where dev's should be lacks the guidance; a wider one's tensors have other shapes."""
    place = tmp_path / "flux1-dev.safetensors"
    arrays = bfl_arrays(DIMS, ARRAYS)
    guidance = {name for name in arrays if name.startswith("guidance_in.")}
    assert len(guidance) == 4
    save_file({name: array for name, array in arrays.items() if name not in guidance}, place)
    assert {field for _, field in faults_of(place)} == guidance
    assert text_of(place).count("is missing (bfl layout)") == 4
    wide = replace(DIMS, hidden_size=256)
    save_file(bfl_arrays(wide, diffusers_arrays(wide, seed=1)), place)
    # all but the norms of heads and the last bias are as wide as the model
    same = {name for name in arrays if name.endswith(".scale")} | {"final_layer.linear.bias"}
    assert {field for _, field in faults_of(place)} == arrays.keys() - same


def test_no_transformer_of_flux_at_all(tmp_path: Path) -> None:
    place = tmp_path / "vae.safetensors"
    save_file({f"decoder.{index}.weight": np.zeros(2, np.float32) for index in range(50)}, place)
    assert faults_of(place) == {("vae.safetensors", "")}
    assert "none of its 50 tensors has a name of FLUX.1's transformer: 'decoder.0.weight'" in text_of(place)


# --- the files themselves


@dataclass(frozen=True)
class Damage:
    """What is done to `transformer/`, and the faults (file, field) and words that it must give: these, no others."""

    do: Callable[[Path], object]
    faults: set[tuple[str, str]]
    words: tuple[str, ...]


def lose_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def lose_index_and_shard(folder: Path) -> None:
    lose_index(folder)
    (folder / SECOND).unlink()


def repeat_in_third(folder: Path) -> None:
    lose_index(folder)
    rewrite(folder, THIRD, lambda arrays: arrays.update({"context_embedder.bias": ARRAYS["context_embedder.bias"]}))


def several_at_once(folder: Path) -> None:
    (folder / FIRST).write_bytes(LFS)
    cut_off(folder / SECOND)
    rewrite(folder, THIRD, lambda arrays: arrays.update({K: np.zeros((3, 3), np.float32)}))
    edit_index(folder, lambda names: names.update({"x": "../elsewhere.safetensors", "y": "gone.safetensors"}))


def move_in_index(folder: Path) -> None:
    edit_index(folder, lambda names: names.update({Q: FIRST}))


DAMAGES = {
    "a shard is missing": Damage(
        lambda folder: (folder / SECOND).unlink(), {(SECOND, "")}, ("is not there, but", "names it", GET)
    ),
    "a shard is a link into a cache that was emptied": Damage(
        lambda folder: ((folder / SECOND).unlink(), (folder / SECOND).symlink_to(folder / "blobs" / "gone")),
        {(SECOND, "")},
        ("is not there", GET),
    ),
    "a shard is a Git LFS pointer": Damage(
        lambda folder: (folder / FIRST).write_bytes(LFS), {(FIRST, "")}, ("Git LFS pointer", "git lfs pull", GET)
    ),
    "a shard is cut off": Damage(lambda folder: cut_off(folder / THIRD), {(THIRD, "")}, ("is cut off", "--force")),
    "a shard's header is cut off": Damage(
        lambda folder: (folder / THIRD).write_bytes((folder / THIRD).read_bytes()[:200]),
        {(THIRD, "")},
        ("damaged or cut off", GET),
    ),
    "a shard is a page that asks for a login": Damage(
        lambda folder: (folder / FIRST).write_bytes(b"<!doctype html><title>Sign in</title>"),
        {(FIRST, "")},
        ("is an HTML page", "hf auth login"),
    ),
    "a shard is empty": Damage(lambda folder: (folder / FIRST).write_bytes(b""), {(FIRST, "")}, ("0 bytes", GET)),
    "the index names a file that is not there": Damage(
        lambda folder: edit_index(folder, lambda names: names.update({"z": "gone.safetensors"})),
        {("gone.safetensors", "")},
        ("is not there, but", GET),
    ),
    "the index puts a tensor into the wrong shard": Damage(
        move_in_index, {(INDEX, f"weight_map.{Q}")}, (f"is put into {FIRST}, which does not hold it",)
    ),
    "the index leads out of its folder": Damage(
        lambda folder: edit_index(folder, lambda names: names.update({"z": "../../secrets.safetensors"})),
        {(INDEX, "weight_map.z")},
        ("which is no file of this folder",),
    ),
    "the index has a number for a file": Damage(
        lambda folder: edit_index(folder, lambda names: names.update({"z": 3})),  # type: ignore[dict-item]
        {(INDEX, "weight_map.z")},
        ("names 3",),
    ),
    "the index does not know a tensor": Damage(
        lambda folder: edit_index(folder, lambda names: names.pop("context_embedder.bias")),
        {(FIRST, "context_embedder.bias")},
        ("is not in diffusion_pytorch_model",),
    ),
    "the index is not JSON": Damage(
        lambda folder: (folder / INDEX).write_text("{"), {(INDEX, "weight_map")}, ("is not an index of shards",)
    ),
    "the index is a list": Damage(
        lambda folder: (folder / INDEX).write_text("[]"), {(INDEX, "weight_map")}, ("is not an index of shards",)
    ),
    "the index is empty": Damage(
        lambda folder: (folder / INDEX).write_text('{"weight_map": {}}'), {(INDEX, "weight_map")}, ("is empty",)
    ),
    "no index, and a shard is missing": Damage(lose_index_and_shard, {(SECOND, "")}, ("is not there", GET)),
    "a tensor is in two shards": Damage(
        repeat_in_third, {(THIRD, "context_embedder.bias")}, (f"is in {FIRST} too", GET)
    ),
    "several at once": Damage(
        several_at_once,
        {
            (FIRST, ""),
            (SECOND, ""),
            (THIRD, K),
            (INDEX, "weight_map.x"),
            ("gone.safetensors", ""),
        },
        ("Git LFS pointer", "cut off"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    damage = DAMAGES[name]
    folder = write_diffusers(tmp_path, ARRAYS)
    damage.do(folder)
    assert faults_of(tmp_path) == damage.faults
    text = text_of(tmp_path)
    assert all(word in text for word in damage.words), text


def test_places_without_weights(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    assert faults_of(tmp_path) == {("transformer", "")}
    assert faults_of(tmp_path / "nowhere.safetensors") == {("nowhere.safetensors", "")}
    for name in ("one", "two"):
        save_file(ARRAYS, tmp_path / "transformer" / f"{name}.safetensors")
    assert "holds several models: one.safetensors, two.safetensors" in text_of(tmp_path)
