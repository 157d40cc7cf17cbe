"""Encoders that are not what they should be: every fault of all parts at once, and nothing is read or allocated."""

import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sq_pipeline.base_models.base_models import BASE_MODELS
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.engines.flux.encoder_files import check_encoders
from sq_pipeline.engines.flux.encoder_tensors import PARTS, EncoderDims

# isort: split
# after our engines package, which makes BLAS ready before MLX is loaded
import mlx.core as mx

from sq_pipeline_tests.engines.flux.encoder_folders import SMALL, T5_INDEX, t5_shard, write_encoders, write_tokenizers

DEV = BASE_MODELS["flux1-dev"]
GET = "hf download black-forest-labs/FLUX.1-dev"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9962580296\n"
Q = "encoder.block.3.layer.0.SelfAttention.q.weight"
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
FC1 = "text_model.encoder.layers.2.mlp.fc1.weight"
SHORTCUT = "decoder.up_blocks.2.resnets.0.conv_shortcut.weight"
VAE_FILE, CLIP_FILE = "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
FIRST, SECOND = (f"text_encoder_2/{t5_shard(number)}" for number in (1, 2))


@pytest.fixture(autouse=True)
def _no_reading_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("nothing may be read or fetched here")

    monkeypatch.setattr(mx, "load", never)
    monkeypatch.setattr(socket.socket, "connect", never)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy whose files are links: what a test changes is written anew."""
    for path in whole.rglob("*"):
        copy = tmp_path / path.relative_to(whole)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    return tmp_path


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def change(root: Path, file: str, to: Mapping[str, np.ndarray | None]) -> None:
    """Write a file again with some tensors replaced or, with None, left out."""
    path = root / file
    arrays = load_file(path)
    for name, array in to.items():
        if array is None:
            del arrays[name]
        else:
            arrays[name] = array
    path.unlink()
    save_file(arrays, path)


def cut_off(path: Path) -> None:
    replace_file(path, path.read_bytes()[:-1000])


def edit_index(root: Path, edit: Callable[[dict[str, str]], object]) -> None:
    path = root / "text_encoder_2" / T5_INDEX
    index = json.loads(path.read_text())
    edit(index["weight_map"])
    replace_file(path, json.dumps(index).encode())


def remove_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def several_at_once(root: Path) -> None:
    (root / SECOND).unlink()
    change(root, CLIP_FILE, {FC1: np.zeros((3, 3), np.float32), "x.bias": np.zeros(2, np.float32)})
    change(root, VAE_FILE, {SHORTCUT: None})
    (root / "tokenizer" / "merges.txt").unlink()
    remove_folder(root / "tokenizer_2")


def other_end_mark(root: Path) -> None:
    path = root / "tokenizer" / "vocab.json"
    words = json.loads(path.read_text())
    replace_file(path, json.dumps(words | {"z" * 9: len(words)}).encode())


@dataclass(frozen=True)
class Damage:
    """What is done to the folder, and the faults (file, field) and words that it must give: these, no others."""

    do: Callable[[Path], object]
    faults: set[tuple[str, str]]
    words: tuple[str, ...]


DAMAGES = {
    "a shard of T5 is missing": Damage(
        lambda root: (root / SECOND).unlink(), {(SECOND, "")}, ("is not there, but", "names it", GET)
    ),
    "a shard is a Git LFS pointer": Damage(
        lambda root: replace_file(root / FIRST, LFS), {(FIRST, "")}, ("Git LFS pointer", "git lfs pull", GET)
    ),
    "a shard is cut off": Damage(lambda root: cut_off(root / SECOND), {(SECOND, "")}, ("is cut off", "--force")),
    "T5's index leads out of its folder": Damage(
        lambda root: edit_index(root, lambda names: names.update({"z": "../vae/x.safetensors"})),
        {(f"text_encoder_2/{T5_INDEX}", "weight_map.z")},
        ("which is no file of this folder",),
    ),
    "T5's index puts a tensor into the wrong shard": Damage(
        lambda root: edit_index(root, lambda names: names.update({"shared.weight": t5_shard(1)})),
        {(f"text_encoder_2/{T5_INDEX}", "weight_map.shared.weight")},
        ("which does not hold it",),
    ),
    "T5 has another width": Damage(
        lambda root: change(root, SECOND, {Q: np.zeros((4096, 8), np.float32)}),
        {(SECOND, Q)},
        ("has the shape [4096, 8], not [4096, 32]",),
    ),
    "T5's position bias is missing": Damage(
        lambda root: (change(root, FIRST, {BIAS: None}), edit_index(root, lambda names: names.pop(BIAS))),
        {("text_encoder_2", BIAS)},
        ("is missing", GET),
    ),
    "CLIP lacks a tensor": Damage(
        lambda root: change(root, CLIP_FILE, {FC1: None}), {("text_encoder", FC1)}, ("is missing", GET)
    ),
    "CLIP is another one": Damage(
        lambda root: change(root, CLIP_FILE, {"text_model.encoder.layers.12.mlp.fc1.bias": np.zeros(40)}),
        {(CLIP_FILE, "text_model.encoder.layers.12.mlp.fc1.bias")},
        ("is no tensor of this model", GET),
    ),
    "the VAE is quantized": Damage(
        lambda root: change(root, VAE_FILE, {SHORTCUT: np.zeros((32, 64, 1, 1), np.uint8)}),
        {(VAE_FILE, SHORTCUT)},
        ("holds U8, not BF16, F16, F32", GET),
    ),
    "the VAE is in BFL's layout": Damage(
        lambda root: (
            (root / VAE_FILE).unlink(),
            save_file({"encoder.down.0.block.0.conv1.weight": np.zeros(3, np.float32)}, root / VAE_FILE),
        ),
        {("vae", "")},
        ("none of its 1 tensors has a name of FLUX.1's VAE: 'encoder.down.0.block.0.conv1.weight'",),
    ),
    "the VAE's folder is empty": Damage(
        lambda root: (root / VAE_FILE).unlink(),
        {("vae", "")},
        ("holds neither diffusion_pytorch_model.safetensors.index.json nor a .safetensors file", GET),
    ),
    "a folder is missing": Damage(
        lambda root: remove_folder(root / "text_encoder"),
        {("text_encoder", "")},
        ("is not there: FLUX.1's CLIP encoder", GET),
    ),
    "T5's tokenizer is missing": Damage(
        lambda root: (root / "tokenizer_2" / "tokenizer.json").unlink(),
        {("tokenizer_2", "")},
        ("holds no tokenizer.json", GET),
    ),
    "half of CLIP's tokenizer is missing": Damage(
        lambda root: (root / "tokenizer" / "vocab.json").unlink(),
        {("tokenizer", "")},
        ("holds no tokenizer.json, and no vocab.json with merges.txt", GET),
    ),
    "a tokenizer is a Git LFS pointer": Damage(
        lambda root: replace_file(root / "tokenizer_2" / "tokenizer.json", LFS),
        {("tokenizer_2", "")},
        ("is no tokenizer that mflux can load", GET),
    ),
    "another tokenizer than CLIP's": Damage(
        other_end_mark, {("tokenizer", "")}, ("ends texts with '<|endoftext|>', which is not its last word", GET)
    ),
    "several at once": Damage(
        several_at_once,
        {
            (SECOND, ""),
            (CLIP_FILE, FC1),
            (CLIP_FILE, "x.bias"),
            ("vae", SHORTCUT),
            ("tokenizer", ""),
            ("tokenizer_2", ""),
        },
        ("is not there: a tokenizer", "holds no tokenizer.json"),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files(name: str, root: Path) -> None:
    damage = DAMAGES[name]
    damage.do(root)
    before = mx.get_active_memory()
    with pytest.raises(BaseModelError) as caught:
        check_encoders(root, DEV, SMALL)
    assert mx.get_active_memory() == before
    faults = caught.value.faults
    assert {(Path(fault.file).relative_to(root).as_posix(), fault.field) for fault in faults} == damage.faults
    assert len(set(faults)) == len(faults)
    assert all(fault.problem and fault.hint for fault in faults)
    assert all(word in str(caught.value) for word in damage.words), str(caught.value)


def test_a_whole_folder_has_no_fault_and_copies_of_tensors_are_none(root: Path) -> None:
    change(root, CLIP_FILE, {"text_model.embeddings.position_ids": np.arange(77)[None]})
    files = check_encoders(root, DEV, SMALL)
    assert set(files.weights) == {"text_encoder", "text_encoder_2", "vae"}
    assert files.tokenizers["t5"].max_length == 512
    assert files.tokenizers["clip"].max_length == 77


def test_a_tokenizer_with_more_words_than_its_encoder(root: Path) -> None:
    """MLX reads past the end of an embedding without a word."""
    dims = replace(SMALL, text_words=60, pooled_words=510)
    with pytest.raises(BaseModelError) as caught:
        check_encoders(root, DEV, dims)
    found = {Path(fault.file).name: fault.problem for fault in caught.value.faults if fault.field == ""}
    assert found == {"tokenizer": "knows 517 words, its encoder 510", "tokenizer_2": "knows 133 words, its encoder 60"}


# --- real sizes


def write_sparse(path: Path, shapes: dict[str, tuple[int, ...]], missing_bytes: int = 0) -> int:
    """A bfloat16 file whose tensors are a hole; returns their bytes."""
    header: dict[str, object] = {}
    at = 0
    for name, shape in shapes.items():
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    encoded = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        file.truncate(8 + len(encoded) + at - missing_bytes)
    return at


def test_the_real_sizes_are_checked_without_reading_them(tmp_path: Path) -> None:
    """Ten gigabytes that are nowhere: T5-XXL, CLIP-L and the VAE at full width, whole and then damaged."""
    total = sum(
        write_sparse(tmp_path / part.part.folder / f"{part.part.stem}.safetensors", part.shapes(EncoderDims()))
        for part in PARTS
    )
    assert total > 9_900_000_000
    write_tokenizers(tmp_path)
    before = mx.get_active_memory()
    assert len(check_encoders(tmp_path, DEV).weights) == 3
    t5 = next(part for part in PARTS if part.part.folder == "text_encoder_2")
    path = tmp_path / "text_encoder_2" / "model.safetensors"
    absurd = t5.shapes(EncoderDims()) | {"shared.weight": (2**30, 4096)}
    write_sparse(path, absurd, missing_bytes=2**40)
    with pytest.raises(BaseModelError, match=r"text_encoder_2/model\.safetensors: is cut off"):
        check_encoders(tmp_path, DEV)
    assert mx.get_active_memory() == before
