"""The gallery of bad adapter files: each is built on disk, with the words that name what is wrong with it.

`adapter inspect` has to name it in one line, as an error or as a fault of its report; `adapter remap` has to refuse it
with an error, or to do its work. No test is here.
"""

import bz2
import gzip
import io
import json
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sq_pipeline.base_models.base_models import FLUX1_MODELS
from sq_pipeline_tests.adapters.files import Tensors, entry, load_bits, mlx_tensors, save, save_raw, to_bits, with_value
from sq_pipeline_tests.loaders.dialect_files import write_diffusers, write_kohya, write_mflux_tiled
from sq_pipeline_tests.loaders.factors import Recipe

TINY = FLUX1_MODELS["tiny-flux"]
SD_WIDTHS = replace(TINY, name="of another width", hidden_size=1280, double_blocks=1, single_blocks=1)
QKV = "double_blocks.0.img_attn.qkv"
KOHYA_QKV = "lora_unet_double_blocks_0_img_attn_qkv"

Build = Callable[[Path], Path]


@dataclass(frozen=True)
class Exhibit:
    """One bad file. `build` writes it into a folder.

    `inspect` is in one line of what `adapter inspect` says: on stderr, with exit 1, where `is_unreadable`; as a fault
    of the report otherwise, or as a remark where the words begin so. `remap` is in an error line of `adapter remap`,
    which then writes nothing; None where a remap to mflux is right.
    """

    build: Build
    inspect: str
    is_unreadable: bool
    remap: str | None


def _unreadable(build: Build, words: str) -> Exhibit:
    return Exhibit(build, words, True, words)


def _faulty(build: Build, inspect: str, remap: str | None) -> Exhibit:
    return Exhibit(build, inspect, False, remap)


def _bytes(name: str, content: bytes) -> Build:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return build


def _saved(tensors: Callable[[], Tensors], metadata: dict[str, str] | None = None) -> Build:
    return lambda folder: save(folder / "a.safetensors", tensors(), metadata)


def _whole() -> Tensors:
    return mlx_tensors(TINY, rank=4)


def _edited(edit: Callable[[Tensors], Tensors | None]) -> Build:
    def tensors() -> Tensors:
        whole = _whole()
        return edit(whole) or whole

    return _saved(tensors)


def _kohya(edit: Callable[[Tensors], None] = lambda _: None, rank: int = 8) -> Build:
    def build(folder: Path) -> Path:
        path = write_kohya(folder / "a.safetensors", Recipe(TINY, ranks=rank, alpha="rank")).path
        tensors = load_bits(path)
        edit(tensors)
        return save(path, tensors)

    return build


def _zero_b(tensors: Tensors) -> None:
    for name, (dtype, bits) in tensors.items():
        if name.endswith("lora_b"):
            tensors[name] = (dtype, np.zeros_like(bits))


def _without(ending: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: both for name, both in tensors.items() if not name.endswith(ending)}


def _cut_rank(tensors: Tensors) -> None:
    tensors[f"{QKV}.lora_a"] = ("F32", tensors[f"{QKV}.lora_a"][1][:, :3])


def _narrow(tensors: Tensors) -> None:
    tensors["single_blocks.0.linear2.lora_a"] = ("F32", tensors["single_blocks.0.linear2.lora_a"][1][:1024])


def _rename(before: str, after: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(before, after): both for name, both in tensors.items()}


def _alphas(value: float) -> Callable[[Tensors], None]:
    def edit(tensors: Tensors) -> None:
        for name in tensors:
            if name.endswith(".alpha"):
                tensors[name] = ("F32", to_bits(value))

    return edit


def _drop_alphas(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.endswith(".alpha")]:
        del tensors[name]


def _drop_some_alphas(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.endswith(".alpha") and "single" in name]:
        del tensors[name]


def _twice(tensors: Tensors) -> None:
    tensors[f"{KOHYA_QKV}.lora_A.weight"] = tensors[f"{KOHYA_QKV}.lora_down.weight"]


def _mixed(folder: Path) -> Path:
    tensors = load_bits(_kohya()(folder))
    tensors |= load_bits(write_diffusers(folder / "b.safetensors", Recipe(TINY, only="img_attn.qkv", ranks=2)).path)
    (folder / "b.safetensors").unlink()
    return save(folder / "a.safetensors", tensors)


def _tiled(folder: Path) -> Path:
    return write_mflux_tiled(folder / "a.safetensors", Recipe(TINY, ranks=4)).path


def _truncated(folder: Path) -> Path:
    path = _edited(lambda _: None)(folder)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def _trailing(folder: Path) -> Path:
    path = _edited(lambda _: None)(folder)
    path.write_bytes(path.read_bytes() + b"\0" * 7)
    return path


def _header_length(shift: int) -> Build:
    def build(folder: Path) -> Path:
        path = _edited(lambda _: None)(folder)
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        path.write_bytes(struct.pack("<Q", length + shift) + content[8:])
        return path

    return build


def _claimed(length: int) -> Build:
    return lambda folder: save_raw(folder / "a.safetensors", "{}", b"\0" * 64, length)


def _raw(header: str, data: bytes) -> Build:
    return lambda folder: save_raw(folder / "a.safetensors", header, data)


class Trap:
    """Unpickling it makes a file: a test looks whether it is there."""

    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path(self.marker),)


MARKER = "unpickled"


def _pickled(name: str, protocol: int) -> Build:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(pickle.dumps(Trap(str(folder.parent / MARKER)), protocol))
        return path

    return build


def _torch_archive(folder: Path) -> Path:
    path = folder / "a.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(str(folder.parent / MARKER))))
    return path


def _draw_things(folder: Path) -> Path:
    """A table of tensors by name, as Draw Things (s4nnc) keeps its checkpoints."""
    path = folder / "style_lora_f16.ckpt"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE tensors (name TEXT, type INTEGER, format INTEGER, dim BLOB, data BLOB)")
        database.execute("INSERT INTO tensors VALUES ('__up__x', 1, 1, x'00', x'00')")
    database.close()
    return path


def _tarred() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.safetensors"), io.BytesIO())
    return held.getvalue()


_ST = "a.safetensors"
_TWO = json.dumps({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)})
_SAME = json.dumps({"a.lora_A": entry("F32", [2], 0, 8)})
_PICKLE = "is a pickle or checkpoint archive, which can run code when loaded; export it as .safetensors"
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 153228352\n"
_HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
_PATHS = {"ss_output_name": "style", "ss_training_dir": "/home/anna/Pictures/set"}

GALLERY: dict[str, Exhibit] = {
    # readable, and faulty
    "zero B": _faulty(
        _edited(_zero_b),
        "the whole adapter's update is zero; it changes nothing",
        "the whole adapter's update is zero; it changes nothing; train it, or take another checkpoint, or pass --allow",
    ),
    "unmatched names": _faulty(
        _edited(_rename("_mod.lin", "_modulation.linear")),
        "4 modules are not of FLUX.1's blocks; mflux does not load them",
        "8 unknown keys: no rule of",
    ),
    "names of another model": _faulty(
        _edited(_rename("double_blocks", "layers")),
        "20 modules are not of FLUX.1's blocks; mflux does not load them",
        "40 unknown keys: no rule of mlx-to-mlx matches them (layers.0.img_attn.proj.lora_a",
    ),
    "half the keys: no B": _faulty(
        _edited(_without("lora_b")), "half the keys are missing: no module has an up matrix", "missing: its partner"
    ),
    "half the keys: no A": _faulty(
        _edited(_without("lora_a")), "half the keys are missing: no module has a down matrix", "missing: its partner"
    ),
    "a matrix lost": _faulty(
        _edited(_without(f"{QKV}.lora_b")), f"{QKV}: its up matrix is missing", "missing: its partner is there"
    ),
    "ranks that differ": _faulty(_edited(_cut_rank), "the ranks 3 and 4 differ", "the ranks 3 and 4 differ"),
    "wrong base shapes": _faulty(
        lambda folder: write_kohya(folder / _ST, Recipe(SD_WIDTHS, alpha="rank")).path,
        "fits no FLUX.1 known here: its modules are of hidden size 1280",
        "fits no FLUX.1 known here: its modules are of hidden size 1280",
    ),
    "a module of other widths": _faulty(
        _edited(_narrow),
        "single_blocks.0.linear2: has 1024 inputs and 256 outputs; at hidden size 256",
        "single_blocks.0.linear2: has 1024 inputs and 256 outputs; at hidden size 256",
    ),
    "blocks too many": _faulty(
        _edited(_rename("double_blocks.1", "double_blocks.30")),
        "10 modules are of blocks that the base model does not have (first double_blocks.30.img_attn.proj: ",
        "10 modules are of blocks that the base model does not have (first double_blocks.30.img_attn.proj: ",
    ),
    "tiled down, for the old mflux": _faulty(
        _tiled,
        "8 modules have a tiled down matrix, a recipe for mflux before 0.19: from 0.19 on it is a shape error",
        "as recipes for mflux before 0.19 wrote them; pass --from mflux-before-0.19 to read it so",
    ),
    "alpha 256 times too strong": _faulty(
        _kohya(_alphas(2048.0)),
        "runs at 256 times its matrices (alpha 2048 at rank 8); nobody trains so",
        "runs at 256 times its matrices (alpha 2048 at rank 8); nobody trains so",
    ),
    "alpha zero": _faulty(
        _kohya(_alphas(0.0)), "the whole adapter's update is zero", "the whole adapter's update is zero"
    ),
    "alpha negative": _faulty(
        _kohya(_alphas(-8.0)), "a negative scale, which does the opposite", "a negative scale, which does the opposite"
    ),
    "alpha NaN": _faulty(_kohya(_alphas(np.nan)), "32 tensors hold NaN or infinity", "is no finite number"),
    "alpha missing": _faulty(_kohya(_drop_alphas), "alpha is missing: mflux and ComfyUI take scale 1", "alpha missing"),
    "alpha missing for some": _faulty(
        _kohya(_drop_some_alphas), "alpha is missing in 12 of 32 modules", "alpha missing for 12 of 32"
    ),
    "NaN": _faulty(
        _edited(lambda tensors: with_value(tensors, f"{QKV}.lora_a", np.nan)),
        f"{QKV}.lora_a: holds NaN or infinity",
        "holds NaN or infinity",
    ),
    "infinity": _faulty(
        _edited(lambda tensors: with_value(tensors, f"{QKV}.lora_b", np.inf)),
        f"{QKV}.lora_b: holds NaN or infinity",
        "holds NaN or infinity",
    ),
    "whole numbers": _faulty(
        _edited(lambda tensors: {**tensors, f"{QKV}.lora_a": ("U8", np.ones((256, 4), np.uint8))}),
        "is U8, not a floating-point number",
        "not a filled matrix of floating-point numbers",
    ),
    "a module under two names": _faulty(_kohya(_twice), "says the same as", "unknown key"),
    "two dialects": _faulty(_mixed, f"says the same as {KOHYA_QKV}: both update {QKV}", "mixes the names of"),
    "a text encoder's part": _faulty(
        _kohya(
            lambda tensors: tensors.update(
                {
                    "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": ("F32", to_bits(np.ones((8, 4)))),
                    "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": ("F32", to_bits(np.ones((4, 8)))),
                    "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha": ("F32", to_bits(8.0)),
                }
            )
        ),
        "remark: 1 of 33 modules are of a text encoder",
        "is of a text encoder, which no target here holds",
    ),
    "a model, not an adapter": _faulty(
        _saved(lambda: {f"double_blocks.{i}.img_attn.qkv.weight": ("F32", to_bits(np.ones((3, 3)))) for i in range(5)}),
        "5 tensors are weights, not updates of them: this is a model, or part of one, not an adapter",
        "none of its 5 keys is one of a FLUX.1 LoRA",
    ),
    "no tensors": _faulty(_saved(dict), "holds no module of a LoRA", "holds no tensors"),
    "a path in its metadata": _faulty(
        _saved(_whole, _PATHS),
        "metadata names a path of the machine it was made on (ss_training_dir: /home/anna/Pictures/set)",
        "metadata names a path of the machine it was made on (ss_training_dir: /home/anna/Pictures/set)",
    ),
    # not readable
    "truncated": _unreadable(_truncated, "is cut off: its tensors need"),
    "bytes after the end": _unreadable(_trailing, "has 7 bytes after its last tensor"),
    "header length too short": _unreadable(_header_length(-8), "its header is not the JSON it should be"),
    "header length too long": _unreadable(_header_length(8), "its header is not the JSON it should be"),
    "4 GB header": _unreadable(_claimed(2**32), "claims a header of 4294967296 bytes, but is 74 bytes long"),
    "header of 2^64 bytes": _unreadable(_claimed(2**64 - 1), "claims a header of 18446744073709551615 bytes"),
    "overlapping offsets": _unreadable(_raw(_TWO, b"\0" * 12), "b: its data overlaps another tensor"),
    "duplicate keys": _unreadable(
        _raw(f"{_SAME[:-1]},{_SAME[1:]}", b"\0" * 8), "its header has the key 'a.lora_A' twice"
    ),
    "header nested deep": _unreadable(_raw('{"a":' + "[" * 200_000, b""), "its header is not the JSON it should be"),
    "empty": _unreadable(_bytes(_ST, b""), "is 0 bytes long, too short for a safetensors file"),
    "seven bytes": _unreadable(_bytes(_ST, b"\1" * 7), "is 7 bytes long, too short for a safetensors file"),
    "never filled": _unreadable(_bytes(_ST, b"\0" * 4096), "begins with zeros: space was reserved for it"),
    "an unfinished download": _unreadable(
        _bytes("a.safetensors.part", b"\1" * 100), "is a download that is not finished"
    ),
    **{
        f"pickle {name}, protocol {protocol}": _unreadable(_pickled(name, protocol), _PICKLE)
        for name, protocol in (("a.ckpt", 2), ("a.pt", 5), ("a.bin", 0), ("a.safetensors", 4))
    },
    "a torch archive": _unreadable(_torch_archive, _PICKLE),
    "Draw Things": _unreadable(_draw_things, "is an SQLite file (Draw Things keeps its checkpoints so)"),
    "Git LFS pointer": _unreadable(
        _bytes(_ST, _LFS), "is a Git LFS pointer: the weights were never downloaded; run `git lfs pull`"
    ),
    "HTML page": _unreadable(_bytes(_ST, _HTML), "is an HTML page: what was downloaded is a page about the file"),
    "HTML page named .ckpt": _unreadable(_bytes("a.ckpt", b"\n  " + _HTML.lower()), "is an HTML page"),
    "error as JSON": _unreadable(_bytes(_ST, b'{"error": "Repository not found"}'), "is JSON text"),
    "a safetensors index": _unreadable(
        _bytes("a.safetensors.index.json", b'{\n  "metadata": {},\n  "weight_map": {}\n}'), "is JSON text: an index"
    ),
    "GGUF": _unreadable(_bytes("a.gguf", b"GGUF\3\0\0\0" + b"\0" * 64), "is a GGUF file"),
    "gzip": _unreadable(_bytes(_ST, gzip.compress(b"x" * 999, mtime=0)), "is gzip-compressed; unpack it"),
    "bzip2": _unreadable(_bytes(_ST, bz2.compress(b"x" * 999)), "is bzip2-compressed; unpack it"),
    "tar": _unreadable(_bytes(_ST, _tarred()), "is a tar archive; unpack it"),
    "a NumPy array": _unreadable(_bytes(_ST, b"\x93NUMPY\1\0v\0" + b" " * 118), "is a NumPy array file"),
    "a picture": _unreadable(_bytes(_ST, b"\x89PNG\r\n\x1a\n" + b"\0" * 64), "is a PNG picture"),
    "a text": _unreadable(_bytes(_ST, b"Trigger word: spaghetti_western\n"), "is a text file, not weights"),
}
