"""PNG files that nobody vouches for: both ways for ours, and one line for anything else."""

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sq_pipeline.common.errors import PictureError
from sq_pipeline.pictures import png_file
from sq_pipeline.pictures.png_file import encode_png, read_png
from sq_pipeline_tests.builders import write_16_bit_png

PIXELS = np.arange(16 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 32, 3)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.pack(">IIBBBBB", 32, 16, 8, 2, 0, 0, 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra: bytes, header: bytes = HEADER, pixels: bytes | None = None, end: bytes = chunk(b"IEND", b"")) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    packed = zlib.compress(rows if pixels is None else pixels)
    return SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", packed) + end


def itxt(name: str, text: bytes, packed: int = 0) -> bytes:
    return chunk(b"iTXt", name.encode() + b"\0" + bytes([packed, 0]) + b"\0\0" + text)


_KEYWORDS = st.from_regex(r"sq\.[a-z]{1,9}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(_KEYWORDS, _TEXTS, max_size=4))
def test_what_is_written_is_read(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(encode_png(PIXELS, {**texts, "Comment": "not ours"}))
        found = read_png(path, "sq.")
    assert found.texts == texts
    assert found.pixels is not None
    assert np.array_equal(found.pixels, PIXELS)
    assert (found.width_px, found.height_px, found.mode) == (32, 16, "RGB")


def test_the_three_kinds_of_text_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(
        png(
            chunk(b"tEXt", b"sq.a\0plain"),
            chunk(b"zTXt", b"sq.b\0\0" + zlib.compress(b"packed")),
            itxt("sq.c", "é".encode()),
            itxt("sq.d", zlib.compress("ü".encode()), packed=1),
        )
    )
    assert read_png(path, "sq.").texts == {"sq.a": "plain", "sq.b": "packed", "sq.c": "é", "sq.d": "ü"}


BOMB = zlib.compress(bytes(64 << 20), 9)
ALMOST_A_BOMB = zlib.compress(bytes(1 << 20), 9)  # of each text no more than is read
HOSTILE: list[tuple[str, bytes, str]] = [
    ("empty", b"", "is no PNG"),
    ("jpeg", b"\xff\xd8\xff\xe0" + bytes(100), "is no PNG"),
    ("signature only", SIGNATURE, "ends in the middle"),
    ("cut", png()[:-20], "ends in the middle"),
    ("huge chunk", SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR" + HEADER, "a chunk claims 4294967295 bytes"),
    ("no end", png(end=b""), "ends in the middle"),
    ("flipped bit", png().replace(chunk(b"IHDR", HEADER), chunk(b"IHDR", HEADER)[:-1] + b"?"), "the checksum"),
    ("header last", SIGNATURE + chunk(b"tEXt", b"sq.a\0b") + chunk(b"IHDR", HEADER), "its header is not where"),
    ("two headers", png(chunk(b"IHDR", HEADER)), "its header is not where"),
    ("short header", png(header=HEADER[:5]), "its header is not 13 bytes"),
    ("gigapixels", png(header=struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)), "claims 2147483647 × "),
    ("no pixels", png(header=struct.pack(">IIBBBBB", 0, 16, 8, 2, 0, 0, 0)), "claims 0 × 16 pixels"),
    ("few pixels", png(pixels=b"\0abc"), "its pixels cannot be read"),
    ("no IDAT", SIGNATURE + chunk(b"IHDR", HEADER) + chunk(b"IEND", b""), "its pixels cannot be read"),
    ("zTXt bomb", png(chunk(b"zTXt", b"sq.a\0\0" + BOMB)), "'sq.a' is longer than 1 MiB"),
    ("iTXt bomb", png(itxt("sq.a", BOMB, packed=1)), "'sq.a' is longer than 1 MiB"),
    ("long text", png(chunk(b"tEXt", b"sq.a\0" + bytes(2 << 20))), "'sq.a' is longer than 1 MiB"),
    ("many texts", png(*(itxt(f"sq.{n}", ALMOST_A_BOMB, packed=1) for n in range(900))), "more than 4 MiB of text"),
    ("bad stream", png(chunk(b"zTXt", b"sq.a\0\0no zlib")), "'sq.a' cannot be unpacked"),
    ("no UTF-8", png(itxt("sq.a", b"\xff\xfe")), "'sq.a' is no text"),
    ("cut iTXt", png(chunk(b"iTXt", b"sq.a\0")), "'sq.a' is damaged"),
    ("twice", png(itxt("sq.a", b"1"), itxt("sq.a", b"2")), "holds 'sq.a' twice"),
]


@pytest.mark.parametrize(("content", "message"), [item[1:] for item in HOSTILE], ids=[item[0] for item in HOSTILE])
def test_what_is_hostile_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(PictureError) as caught:
        read_png(path, "sq.")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_of_others_are_not_even_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(chunk(b"zTXt", b"Comment\0\0" + BOMB), chunk(b"iCCP", b"junk"), chunk(b"zTXt", b"x")))
    assert read_png(path, "sq.").texts == {}


def test_a_bomb_of_pixels_takes_no_more_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels=bytes(64 << 20)))
    found = read_png(path, "sq.").pixels
    assert found is not None
    assert found.shape == (16, 32, 3)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1"])
def test_pixels_of_another_kind_are_told(mode: str, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    found = read_png(tmp_path / "a.png", "sq.")
    assert (found.mode, found.pixels) == (mode, None)


def test_sixteen_bits_are_not_taken_for_eight(tmp_path: Path) -> None:
    write_16_bit_png(tmp_path / "a.png", 2, 32, 16)
    assert read_png(tmp_path / "a.png", "sq.").pixels is None


def test_a_folder_a_missing_and_an_endless_file_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "none.png", Path("/dev/zero")):
        with pytest.raises(PictureError, match="is no file"):
            read_png(path, "sq.")
    monkeypatch.setattr(png_file, "_MOST_FILE_BYTES", 100)
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(PictureError, match="is larger than"):
        read_png(tmp_path / "a.png", "sq.")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_noticed_or_harmless(data: st.DataObject) -> None:
    """One changed byte anywhere is an error, or nothing that was read changed."""
    whole = encode_png(PIXELS, {"sq.a": "text"})
    at = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
        try:
            found = read_png(path, "sq.")
        except PictureError:
            return
    assert value == whole[at]
    assert found.texts == {"sq.a": "text"}
