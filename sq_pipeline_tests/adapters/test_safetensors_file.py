"""Tests of reading and writing safetensors files: agreement with the reference library, and files that are broken.

What the names in a file mean is tested elsewhere (test_remap, test_inspect).
"""

import json
import pickle
import string
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sq_pipeline.adapters import safetensors_file
from sq_pipeline.adapters.safetensors_file import open_safetensors, write_safetensors
from sq_pipeline.adapters.tensor_bits import is_finite, to_float32
from sq_pipeline.adapters.tensor_header import DTYPE_BYTES, TensorInfo
from sq_pipeline.adapters.tensor_scan import tensors_data_version
from sq_pipeline.common.errors import AdapterError
from sq_pipeline_tests.adapters.files import DTYPES, Bits, Tensors, entry, load, metadata_of, save, save_raw, to_bits


def write(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    layout = [TensorInfo(name, dtype, bits.shape) for name, (dtype, bits) in tensors.items()]
    arrays = [bits for _, bits in tensors.values()]
    write_safetensors(path, zip(layout, arrays, strict=True), layout, metadata or {})
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(AdapterError) as caught:
        open_safetensors(path)
    return [str(fault) for fault in caught.value.faults]


# Agreement with the reference library


ARRAYS: dict[str, Any] = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "float16": np.array([[1.5, -2]], dtype=np.float16),
    "float64": np.array([np.pi]),
    "int64": np.array([-1, 2**40]),
    "uint8": np.array([0, 255], dtype=np.uint8),
    "bool": np.array([True, False]),
    "scalar": np.array(8.0, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
}


def test_reads_what_the_reference_library_wrote(tmp_path: Path):
    path = tmp_path / "adapter.safetensors"
    save_file(ARRAYS, path, {"lora_rank": "2"})
    file = open_safetensors(path)
    assert file.metadata == {"lora_rank": "2"}
    assert file.tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        bits = file.read(name)
        assert bits.shape == array.shape
        assert bits.tobytes() == array.tobytes()


def test_metadata_that_is_known_at_last_takes_the_place_that_was_held(tmp_path: Path):
    info = TensorInfo("a", "U8", (3,))
    tensor = (info, np.arange(3, dtype=np.uint8))
    write_safetensors(tmp_path / "a.safetensors", [tensor], [info], {"hash": "0000"}, lambda: {"hash": "f00d"})
    assert metadata_of(tmp_path / "a.safetensors") == {"hash": "f00d"}
    assert load(tmp_path / "a.safetensors")["a"] == ("U8", (3,), b"\0\1\2")
    with pytest.raises(ValueError, match="a header of"):
        write_safetensors(tmp_path / "b.safetensors", [tensor], [info], {"hash": "0"}, lambda: {"hash": "f" * 40})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors"]


def test_the_reference_library_reads_what_was_written(tmp_path: Path):
    words = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    tensors = {name: (words[str(a.dtype)], a.view(f"<u{a.itemsize}")) for name, a in ARRAYS.items()}
    path = write(tmp_path / "adapter.safetensors", tensors, {"b": "2", "a": "é\n"})
    loaded = load_file(path)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
    assert metadata_of(path) == {"a": "é\n", "b": "2"}


def test_bfloat16_keeps_its_bits_both_ways(tmp_path: Path):
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)  # every bfloat16 there is, NaNs included
    theirs = save(tmp_path / "theirs.safetensors", {"all": ("BF16", bits)})
    np.testing.assert_array_equal(open_safetensors(theirs).read("all"), bits)
    ours = write(tmp_path / "ours.safetensors", {"all": ("BF16", bits)})
    assert load(ours) == {"all": ("BF16", (256, 256), bits.tobytes())}


@st.composite
def tensors_of_any_kind(draw: st.DrawFn) -> Tensors:
    names = st.text(st.characters(blacklist_categories=["C", "Z"]), max_size=12).filter(lambda t: t != "__metadata__")
    tensors: Tensors = {}
    for name in draw(st.lists(names, unique=True, max_size=5)):
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        width, count = DTYPES[dtype][1], int(np.prod(shape, dtype=int))
        # a bool is 0 or 1: the reference library does not look, other readers might
        content = draw(st.binary(min_size=width * count, max_size=width * count))
        bits = np.frombuffer(content, dtype=f"<u{width}").reshape(shape)
        tensors[name] = (dtype, bits & 1 if dtype == "BOOL" else bits)
    return tensors


@given(tensors_of_any_kind(), st.dictionaries(st.text(string.printable, max_size=8), st.text(string.printable)))
@settings(deadline=None, max_examples=60)
def test_any_tensors_survive_both_ways(tensors: Tensors, metadata: dict[str, str]):
    with tempfile.TemporaryDirectory() as folder:
        ours = write(Path(folder) / "ours.safetensors", tensors, metadata)
        expected = {name: (dtype, bits.shape, bits.tobytes()) for name, (dtype, bits) in tensors.items()}
        assert load(ours) == expected
        assert metadata_of(ours) == metadata
        file = open_safetensors(save(Path(folder) / "theirs.safetensors", tensors, metadata))
        read = {name: (info.dtype, info.shape, file.read(name).tobytes()) for name, info in file.tensors.items()}
        assert read == expected
        assert file.metadata == metadata
        assert tensors_data_version(ours) == tensors_data_version(file.path)


@pytest.mark.parametrize("length", [128, 384, 640, 896, 1152, 1408, 19280], ids=hex)
def test_a_header_length_that_looks_like_a_pickle_is_a_header_length(tmp_path: Path, length: int):
    """0x0280 in little endian is how pickle protocol 2 begins, 0x4b50 how a zip does."""
    path = save_raw(tmp_path / "a.safetensors", json.dumps({"t": entry("U8", [1], 0, 1)}).ljust(length), b"\7")
    assert open_safetensors(path).read("t").tolist() == [7]


# Files that are broken

ONE = {"t": entry("F32", [2], 0, 8)}
TWO = {"a": entry("F32", [2], 0, 8), "b": entry("F32", [1], 8, 12)}
LONG = '{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'

BROKEN: dict[str, tuple[Any, bytes, int | None, list[str]]] = {
    # header, data, claimed header length, what each line of the error says
    "data cut off": (ONE, b"\0" * 7, None, ["is cut off: its tensors need 8 bytes, 7 are there"]),
    "no data": (TWO, b"", None, ["is cut off: its tensors need 12 bytes, 0 are there"]),
    "header cut off": (LONG[:20], b"", len(LONG), ["claims a header of 54 bytes, but is 28 bytes long"]),
    "header length too short": (LONG, b"\0" * 8, 20, ["its header is not the JSON it should be"]),
    "header length into the data": (LONG, b"\0" * 8, len(LONG) + 4, ["its header is not the JSON it should be"]),
    "header length past the end": (LONG, b"\0" * 8, 1000, ["claims a header of 1000 bytes, but is 70 bytes long"]),
    "4 GB header": (LONG, b"\0" * 8, 2**32, ["claims a header of 4294967296 bytes, but is 70 bytes long"]),
    "largest header": (LONG, b"\0" * 8, 2**64 - 1, ["claims a header of 18446744073709551615 bytes"]),
    "no header": ("", b"", None, ["its header is not the JSON it should be"]),
    "not JSON": ("{nonsense}", b"", None, ["its header is not the JSON it should be"]),
    "not UTF-8": (LONG, b"\xff\xfe", len(LONG) + 2, ["its header is not the JSON it should be"]),
    "a list": ("[]", b"", None, ["its header is not a JSON object"]),
    "nested too deeply": ("[" * 100_000, b"", None, ["its header is not the JSON it should be"]),
    "a tensor twice": (
        f'{LONG[:-1]},"u":{json.dumps(entry("U8", [1], 8, 9))},{LONG[1:-1]},"u":{json.dumps(entry("U8", [1], 8, 9))}}}',
        b"\0" * 9,
        None,
        ["its header has the key 't' twice", "its header has the key 'u' twice"],
    ),
    "a field twice": (
        LONG.replace('"shape"', '"dtype":"F32","shape"'),
        b"\0" * 8,
        None,
        ["its header has the key 'dtype' twice"],
    ),
    "an overlap": ({**ONE, "u": entry("F32", [2], 4, 12)}, b"\0" * 12, None, ["u: its data overlaps another tensor"]),
    "the same span": ({**ONE, "u": entry("F32", [2], 0, 8)}, b"\0" * 8, None, ["its data overlaps another tensor"]),
    "a gap": ({**ONE, "u": entry("F32", [1], 12, 16)}, b"\0" * 16, None, ["u: its data leaves a gap before it"]),
    "a gap at the start": ({"t": entry("U8", [1], 4, 5)}, b"\0" * 5, None, ["t: its data leaves a gap before it"]),
    "trailing bytes": (ONE, b"\0" * 11, None, ["has 3 bytes after its last tensor"]),
    "only trailing bytes": ({}, b"\0", None, ["has 1 bytes after its last tensor"]),
    "an unknown dtype": ({"t": entry("F7", [2], 0, 8)}, b"\0" * 8, None, ["t: has the dtype 'F7'"]),
    "a dtype that is no text": ({"t": {**ONE["t"], "dtype": ["F32"]}}, b"\0" * 8, None, ["t: has the dtype ['F32']"]),
    "an entry that is no object": ({"t": 7}, b"", None, ["t: its entry needs dtype, shape and data_offsets"]),
    "a field too few": ({"t": {"dtype": "F32", "shape": [2]}}, b"", None, ["t: its entry needs dtype, shape and"]),
    "a field too many": ({"t": {**ONE["t"], "x": 1}}, b"\0" * 8, None, ["t: its entry needs dtype, shape and"]),
    "a negative size": ({"t": entry("F32", [-2], 0, 8)}, b"\0" * 8, None, ["t: its shape or data_offsets are not"]),
    "a fractional size": ({"t": {**ONE["t"], "shape": [2.0]}}, b"\0" * 8, None, ["t: its shape or data_offsets"]),
    "a size that is true": ({"t": {**ONE["t"], "shape": [True]}}, b"\0" * 8, None, ["t: its shape or data_offsets"]),
    "three offsets": ({"t": {**ONE["t"], "data_offsets": [0, 8, 8]}}, b"\0" * 8, None, ["t: its shape or data_off"]),
    "a span too short": (
        {"t": entry("F32", [2], 0, 4)},
        b"\0" * 4,
        None,
        ["t: shape [2] in F32 needs 8 bytes, its data_offsets span [0, 4]"],
    ),
    "a span backwards": ({"t": entry("F32", [0], 8, 0)}, b"", None, ["t: shape [0] in F32 needs 0 bytes"]),
    "a span before the start": ({"t": entry("F32", [2], -8, 0)}, b"", None, ["t: shape [2] in F32 needs 8 bytes"]),
    "astronomic sizes": (
        {"t": {"dtype": "F64", "shape": [2**39] * 9, "data_offsets": [0, 2**354]}},
        b"",
        None,
        ["is cut off: its tensors need"],
    ),
    "metadata that is no mapping": ({"__metadata__": [], **ONE}, b"\0" * 8, None, ["__metadata__: is not a mapping"]),
    "metadata of numbers": ({"__metadata__": {"r": 8}, **ONE}, b"\0" * 8, None, ["__metadata__: is not a mapping"]),
    "half a character in metadata": (
        '{"__metadata__":{"r":"\\ud800"}}',
        b"",
        None,
        ["__metadata__: is not a mapping of texts"],
    ),
    "half a character in a name": (
        LONG.replace('"t"', '"t\\ud800"'),
        b"\0" * 8,
        None,
        ["'t\\ud800': its name has characters that cannot be printed"],
    ),
    "a line break in a name": (
        LONG.replace('"t"', '"t\\nerror: all is well"'),
        b"\0" * 8,
        None,
        ["'t\\nerror: all is well': its name has characters that cannot be printed"],
    ),
    "all of it": (
        {"__metadata__": 1, "a": 1, "b": entry("X", [1], 0, 1), "c": entry("F32", [1], 0, 1), **ONE},
        b"\0" * 8,
        None,
        ["__metadata__: ", "a: its entry", "b: has the dtype", "c: shape [1] in F32 needs 4 bytes"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_error_with_a_line_for_each_fault(tmp_path: Path, case: str):
    header, data, claimed, expected = BROKEN[case]
    path = save_raw(tmp_path / "broken.safetensors", header, data, claimed)
    lines = faults_of(path)
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert line.startswith(f"{path}: ")
        assert part in line
        assert "\n" not in line
        assert line.encode()
        assert line.endswith("; get the file again, or export it again")


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_a_header_length_says_so(tmp_path: Path, size: int):
    path = tmp_path / "short.safetensors"
    path.write_bytes(b"\1" * size)
    (line,) = faults_of(path)
    assert f"is {size} bytes long, too short for a safetensors file" in line


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.safetensors", "there is no such file; check the path"),
        ("folder", "is a folder, not a file; name the .safetensors file in it"),
        ("file/adapter.safetensors", "cannot be read (Not a directory)"),
    ],
)
def test_a_path_without_a_file_says_what_is_there(tmp_path: Path, name: str, problem: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (line,) = faults_of(tmp_path / name)
    assert problem in line


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.pth", "a.bin", "a.pkl", "a.safetensors"])
def test_a_pickle_is_named_and_never_loaded(tmp_path: Path, name: str, protocol: int):
    marker, path = tmp_path / "it ran", tmp_path / name
    path.write_bytes(pickle.dumps(Trap(marker), protocol))
    (line,) = faults_of(path)
    assert "is a pickle or checkpoint archive, which can run code when loaded; export it as .safetensors" in line
    assert not marker.exists()


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.safetensors"])
def test_a_torch_archive_is_named_and_never_loaded(tmp_path: Path, name: str):
    marker, path = tmp_path / "it ran", tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap(marker)))
    (line,) = faults_of(path)
    assert "is a pickle or checkpoint archive" in line
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 1])
def test_a_pickle_without_a_magic_is_refused_all_the_same(tmp_path: Path, protocol: int):
    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "it ran"), protocol))
    assert len(faults_of(path)) == 1
    assert not (tmp_path / "it ran").exists()


def test_a_draw_things_checkpoint_is_named(tmp_path: Path):
    path = tmp_path / "style_lora_f16.ckpt"
    path.write_bytes(b"SQLite format 3\0" + b"\0" * 84)
    (line,) = faults_of(path)
    assert "Draw Things" in line
    assert "pickle" not in line


# Writing is whole or not at all

BITS = to_bits([1, 2])
INFO = TensorInfo("t", "F32", (2,))
OTHER = TensorInfo("u", "F32", (2,))


@pytest.mark.parametrize(
    ("layout", "tensors"),
    [
        ([INFO], [(INFO, BITS.reshape(2, 1))]),
        ([INFO], [(INFO, BITS.astype(np.uint16))]),
        ([INFO], [(OTHER, BITS)]),
        ([INFO], []),
        ([INFO], [(INFO, BITS), (OTHER, BITS)]),
        ([INFO, INFO], [(INFO, BITS), (INFO, BITS)]),
    ],
    ids=["another shape", "another width", "another name", "too few", "too many", "twice"],
)
def test_tensors_that_were_not_announced_leave_nothing_behind(tmp_path: Path, layout: Any, tensors: Any):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"what was there before")
    with pytest.raises(ValueError, match=r"t|u"):
        write_safetensors(path, iter(tensors), layout, {})
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    one = write(tmp_path / "one.safetensors", {"t": ("F32", BITS)}, {"a": "1", "b": "2"})
    two = write(tmp_path / "two.safetensors", {"t": ("F32", BITS)}, {"b": "2", "a": "1"})
    assert one.read_bytes() == two.read_bytes()


@given(st.integers(1, 200))
@settings(deadline=None, max_examples=30)
def test_the_data_begins_on_a_multiple_of_eight(length: int):
    with tempfile.TemporaryDirectory() as folder:
        file = open_safetensors(write(Path(folder) / "a.safetensors", {"n" * length: ("F32", BITS)}))
        assert file.data_start % 8 == 0


# Data versions


SOME: Tensors = {"a": ("F16", to_bits([[1, 2]], "F16")), "b": ("F16", to_bits([3], "F16"))}


def version(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> str:
    return tensors_data_version(save(folder / "some.safetensors", tensors, metadata))


def test_a_data_version_ignores_metadata_and_order(tmp_path: Path):
    at_first = version(tmp_path, SOME)
    assert at_first.startswith("sha256:")
    assert version(tmp_path, SOME, {"trained": "yesterday"}) == at_first
    a, b = SOME["a"][1].tobytes(), SOME["b"][1].tobytes()
    turned = {"b": entry("F16", [1], 0, 2), "a": entry("F16", [1, 2], 2, 6)}
    assert tensors_data_version(save_raw(tmp_path / "turned.safetensors", turned, b + a)) == at_first


@pytest.mark.parametrize(
    "changed",
    [
        {**SOME, "a": ("BF16", SOME["a"][1])},
        {**SOME, "a": ("F16", SOME["a"][1].T)},
        {"c": SOME["a"], "b": SOME["b"]},
        {"a": SOME["a"]},
        {**SOME, "c": SOME["b"]},
        {**SOME, "b": ("F16", to_bits([-3], "F16"))},
        {**SOME, "c": ("F16", np.zeros((0, 2), np.uint16))},
    ],
    ids=["dtype", "shape", "name", "one less", "one more", "a sign", "an empty one more"],
)
def test_a_data_version_changes_with_the_tensors(tmp_path: Path, changed: Tensors):
    assert version(tmp_path, changed) != version(tmp_path, SOME)


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_a_data_version_changes_with_any_bit(data: st.DataObject):
    content = bytearray(range(16))
    place, bit = data.draw(st.integers(0, 15)), data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        path = save_raw(Path(folder) / "a.safetensors", {"t": entry("F32", [4], 0, 16)}, bytes(content))
        before = tensors_data_version(path)
        content[place] ^= 1 << bit
        save_raw(path, {"t": entry("F32", [4], 0, 16)}, bytes(content))
        assert tensors_data_version(path) != before


# Numbers


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, True), (-1.5, True), (6e4, True), (1e-7, True), (np.nan, False), (np.inf, False), (-np.inf, False)],
)
def test_a_single_nan_or_infinity_is_found(dtype: str, value: float, expected: bool):
    bits = to_bits([[0, 1], [value, 2]], dtype)
    assert is_finite(TensorInfo("t", dtype, (2, 2)), bits) is expected


def test_whole_numbers_are_finite():
    assert is_finite(TensorInfo("t", "I32", (1,)), np.array([2**32 - 1], np.uint32))


@given(st.floats(width=16, allow_nan=False))
@settings(deadline=None, max_examples=60)
def test_numbers_are_read_exactly(value: float):
    for dtype in ("F32", "F16"):
        assert to_float32(TensorInfo("t", dtype, (1,)), to_bits([value], dtype)).tolist() == [value]
    cut = float(np.uint32(int(np.float32(value).view(np.uint32)) & 0xFFFF0000).view(np.float32))
    assert to_float32(TensorInfo("t", "BF16", (1,)), to_bits([value], "BF16")).tolist() == [cut]


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="t holds I64"):
        to_float32(TensorInfo("t", "I64", (1,)), np.zeros(1, np.uint64))


def test_every_dtype_has_the_width_that_the_reference_library_gives_it(tmp_path: Path):
    for dtype, (_, width) in DTYPES.items():
        assert DTYPE_BYTES[dtype] == width
        bits: Bits = np.zeros(3, dtype=f"<u{width}")
        assert open_safetensors(save(tmp_path / "a.safetensors", {"t": (dtype, bits)})).tensors["t"].byte_count == (
            3 * width
        )


def test_a_header_beyond_the_limit_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors_file, "_MAX_HEADER_BYTES", 1 << 20)
    path = tmp_path / "long.safetensors"
    path.write_bytes(struct.pack("<Q", 3 << 20) + b" " * (3 << 20))
    (line,) = faults_of(path)
    assert "has a header of 3 MiB, and no more than 1 are read" in line


def test_thousands_of_faults_are_a_few_lines(tmp_path: Path) -> None:
    header = json.dumps({f"t{number}": 1 for number in range(5000)}).encode()
    path = tmp_path / "faulty.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    lines = faults_of(path)
    assert len(lines) == 21
    assert "4980 more faults of its header" in lines[-1]
