"""A FLUX.1's text encoders, VAE and tokenizers for tests: the published files' names, in reduced widths.

The names come from the code under test; `test_encoders` holds them against mflux's own networks and mapping.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import T5Tokenizer

from sq_pipeline.engines.flux.encoder_tensors import CLIP, T5, VAE, EncoderDims, EncoderPart

SMALL = EncoderDims(
    text_size=32,
    text_hidden_size=48,
    text_words=300,
    pooled_size=24,
    pooled_hidden_size=40,
    pooled_words=520,
    vae_channels=(32, 64, 96, 96),
)
# as small as they can be quantized: MLX does it in groups of 64
SMALL_QUANTIZABLE = replace(
    SMALL,
    text_size=64,
    text_hidden_size=64,
    pooled_size=64,
    pooled_hidden_size=64,
    vae_channels=(32, 64, 128, 128),
)
T5_INDEX = "model.safetensors.index.json"

Arrays = dict[str, npt.NDArray[np.float32]]


def encoder_arrays(part: EncoderPart, dims: EncoderDims = SMALL) -> Arrays:
    """Random tensors of a part; each layer keeps about the size of what goes through it."""
    numbers = np.random.default_rng(len(part.what))
    arrays: Arrays = {}
    for name, shape in part.shapes(dims).items():
        if "norm" in name and name.endswith("weight"):
            array = 1 + 0.1 * numbers.standard_normal(shape)
        elif len(shape) == 1:
            array = 0.1 * numbers.standard_normal(shape)
        else:
            array = numbers.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        arrays[name] = array.astype(np.float32)
    return arrays


def t5_shard(number: int) -> str:
    """The published name of one of two shards."""
    return f"model-{number:05d}-of-00002.safetensors"


def write_t5(root: Path, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """`text_encoder_2/` in two shards, with their index."""
    folder = root / "text_encoder_2"
    folder.mkdir(parents=True)
    names = sorted(arrays)
    weight_map: dict[str, str] = {}
    for number, chosen in ((1, names[: len(names) // 2]), (2, names[len(names) // 2 :])):
        save_file({name: arrays[name] for name in chosen}, folder / t5_shard(number))
        weight_map |= dict.fromkeys(chosen, t5_shard(number))
    (folder / T5_INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_tokenizers(root: Path) -> None:
    """`tokenizer/` as CLIP's is published (a vocabulary and merges), `tokenizer_2/` as one JSON file."""
    clip = root / "tokenizer"
    clip.mkdir(parents=True)
    letters = sorted(ByteLevel.alphabet())
    merges = [("m", "i"), ("l", "l</w>"), ("mi", "ll</w>")]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (clip / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (clip / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁mill", -3.0)]
    pieces += [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyz,'"]
    T5Tokenizer(vocab=pieces).save_pretrained(str(root / "tokenizer_2"))


def write_encoders(root: Path, dims: EncoderDims = SMALL) -> Path:
    """All of them, in a folder as `hf download` leaves it."""
    write_t5(root, encoder_arrays(T5, dims))
    for part, file in ((CLIP, "model.safetensors"), (VAE, "diffusion_pytorch_model.safetensors")):
        (root / part.part.folder).mkdir()
        save_file(encoder_arrays(part, dims), root / part.part.folder / file)
    write_tokenizers(root)
    return root
