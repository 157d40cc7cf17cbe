"""Dataset folders that people bring, one a case. Every picture is drawn here, every colour profile written here."""

import json
import struct
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Build = Callable[[Path], object]

CASES: dict[str, Build] = {}
RECIPE = (
    "trigger: trg\nmin_pairs: 1\nbase_model: tiny-flux\niterations: 10\ncheckpoint_interval: 5\nkept_checkpoints: 1\n"
    "held_out_pairs: 0\n"
)
GREY = 'background: "#808080"\n'
MAGENTA = (255, 0, 255)


def drawing(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """Sky, ground and a few blocks; another for every seed."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8))
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    pixels[: height // 4], pixels[3 * height // 4 :] = (90, 150, 255), (120, 90, 40)
    return Image.fromarray(pixels)


def dataset(folder: Path, kind: str = "style", pairs: int = 4, extra: str = "") -> Path:
    """A sound dataset."""
    folder.mkdir(parents=True)
    (folder / "lora.yaml").write_text(f"kind: {kind}\n{RECIPE}{extra}")
    for number in range(pairs):
        drawing(number).save(folder / f"good{number}.png")
        (folder / f"good{number}.txt").write_text("trg" if kind == "style" else f"trg scene {number}")
    return folder


def one(image: Image.Image, name: str, extra: str = "", **options: Any) -> Build:
    """A sound dataset and one more picture."""

    def build(folder: Path) -> None:
        dataset(folder, extra=extra)
        image.save(folder / name, **options)
        (folder / name).with_suffix(".txt").write_text("trg")

    return build


# --- lossy conversions


def cut_out(hidden: tuple[int, int, int], alpha: int = 0) -> Image.Image:
    """The left half has this alpha over the colour `hidden`."""
    pixels = np.array(drawing(100).convert("RGBA"))
    pixels[:, :100, :3], pixels[:, :100, 3] = hidden, alpha
    return Image.fromarray(pixels)


def see_through() -> Image.Image:
    """Nothing of it is seen."""
    image = drawing(100).convert("RGBA")
    image.putalpha(0)
    return image


def cut_out_twice(folder: Path) -> None:
    """The same numbers with and without transparency."""
    one(cut_out(MAGENTA), "cut.png")(folder)
    cut_out(MAGENTA, 255).save(folder / "whole.png")
    (folder / "whole.txt").write_text("trg")


CASES |= {
    "alpha-hidden-magenta": one(cut_out(MAGENTA), "cut.png"),
    "alpha-hidden-black": one(cut_out((0, 0, 0)), "cut.png"),
    "alpha-with-background": one(cut_out(MAGENTA), "cut.png", GREY),
    "alpha-half-with-background": one(cut_out(MAGENTA, 128), "cut.png", GREY),
    "alpha-background-faulty": one(cut_out(MAGENTA), "cut.png", "background: greyish\n"),
    "alpha-all-transparent": one(see_through(), "cut.png"),
    "alpha-opaque": one(drawing(100).convert("RGBA"), "opaque.png"),
    "alpha-palette": one(drawing(100).quantize(64), "pal.png", transparency=0),
    "alpha-rgb-key": one(drawing(100), "key.png", transparency=(90, 150, 255)),
    "alpha-differs-only": cut_out_twice,
}

PRIMARIES = {  # chromaticities x, y of red, green, blue; all with the white D65
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "display-p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "adobe-like": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def icc_profile(name: str) -> bytes:
    """A matrix profile (ICC v2): primaries adapted to D50 by Bradford, gamma 2.2. `grey`: gamma 1.0, no colours."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"ours\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + _fixed(_D50),
    }
    if name == "grey":
        tags[b"kTRC"] = _curve(1.0)
        return _pack(tags, b"GRAY")
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in PRIMARIES[name]]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    matrix = columns * np.linalg.solve(columns, white)
    cone = _BRADFORD @ _D50 / (_BRADFORD @ white)
    matrix = np.linalg.inv(_BRADFORD) @ np.diag(cone) @ _BRADFORD @ matrix
    for index, colour in enumerate((b"r", b"g", b"b")):
        tags[colour + b"XYZ"] = b"XYZ " + bytes(4) + _fixed(matrix[:, index])
        tags[colour + b"TRC"] = _curve(2.2)
    return _pack(tags, b"RGB ")


def _fixed(values: np.ndarray) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _pack(tags: dict[bytes, bytes], space: bytes) -> bytes:
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(data), len(padded))
        data += padded
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_D50) + bytes(4)
    return head + bytes(128 - len(head)) + body


def patches() -> Image.Image:
    """Three flat patches that survive a conversion without clipping."""
    pixels = np.zeros((150, 210, 3), np.uint8)
    pixels[:, :70], pixels[:, 70:140], pixels[:, 140:] = (120, 160, 120), (170, 120, 110), (110, 120, 160)
    return Image.fromarray(pixels)


FRAMES = [drawing(seed) for seed in (100, 101, 102)]
_MORE = {"save_all": True, "append_images": FRAMES[1:]}

CASES |= {
    "profile-display-p3": one(patches(), "p3.png", icc_profile=icc_profile("display-p3")),
    "profile-adobe-like": one(patches(), "wide.png", icc_profile=icc_profile("adobe-like")),
    "profile-srgb": one(patches(), "plain.png", icc_profile=icc_profile("srgb")),
    "profile-broken": one(patches(), "odd.png", icc_profile=b"not a profile" * 20),
    "animated-webp": one(FRAMES[0], "a.webp", lossless=True, **_MORE),
    "animated-png": one(FRAMES[0], "a.png", **_MORE),
    "pages-tiff": one(FRAMES[0], "a.tif", **_MORE),
    "wide-4000-by-100": one(drawing(100, 4000, 100), "wide.png"),
    "black": one(Image.new("RGB", (200, 150)), "black.png"),
    "grey-among-colours": one(drawing(100).convert("L"), "grey.png"),
}


def caption(data: bytes, kind: str = "subject", extra: str = "") -> Build:
    """A sound dataset and one more picture with this caption."""

    def build(folder: Path) -> None:
        dataset(folder, kind, extra=extra)
        drawing(100).save(folder / "x.png")
        (folder / "x.txt").write_bytes(data)

    return build


CASES |= {
    "caption-bom": caption(b"\xef\xbb\xbftrg a red barn"),
    "caption-bom-style": caption(b"\xef\xbb\xbftrg", "style"),
    "caption-nul": caption(b"trg a red\0barn"),
    # what a later stage refuses
    "caption-2000-words": caption(("trg " + "word " * 2000).encode()),
    "trigger-beyond-clip": caption((", ".join(f"grey stone {number}" for number in range(11)) + ", trg").encode()),
    "trigger-inside-a-word": caption(b"strgange barn"),
}


# --- messages


def file_beside_caption(name: str, data: bytes) -> Build:
    """A sound dataset, and a file that is not read with a caption of its name."""

    def build(folder: Path) -> None:
        dataset(folder)
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text("trg")

    return build


def other_caption(name: str, text: str) -> Build:
    """A sound dataset, and a picture whose caption is in a file of this name."""

    def build(folder: Path) -> None:
        dataset(folder, "subject")
        drawing(100).save(folder / "x.png")
        (folder / name).write_text(text)

    return build


def kohya_folder(folder: Path) -> None:
    """Pictures in a folder of repeats."""
    (folder / "10_trg house").mkdir(parents=True)
    (folder / "lora.yaml").write_text("kind: subject\n" + RECIPE)
    for number in range(4):
        drawing(number).save(folder / "10_trg house" / f"{number}.png")
        (folder / "10_trg house" / f"{number}.txt").write_text(f"trg house {number}")


def metadata_jsonl(folder: Path) -> None:
    """Captions in a table."""
    folder.mkdir(parents=True)
    (folder / "lora.yaml").write_text("kind: subject\n" + RECIPE)
    for number in range(4):
        drawing(number).save(folder / f"{number}.png")
    rows = [{"file_name": f"{number}.png", "text": f"trg scene {number}"} for number in range(4)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def pairs_in_subfolder(folder: Path) -> None:
    """A pair in a folder below."""
    dataset(folder)
    (folder / "sub").mkdir()
    drawing(100).save(folder / "sub/x.png")
    (folder / "sub/x.txt").write_text("trg")


def style_described(folder: Path) -> None:
    """A style whose captions describe their pictures."""
    dataset(folder, pairs=0)
    for number in range(24):
        drawing(number).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a red barn number {number} at noon, trg")


def recipe_yml(folder: Path) -> None:
    """A recipe under another name."""
    (dataset(folder) / "lora.yaml").rename(folder / "lora.yml")


def nfd_picture_nfc_caption(folder: Path) -> None:
    """One name, written by two systems."""
    dataset(folder)
    drawing(100).save(folder / (unicodedata.normalize("NFD", "café") + ".png"))
    (folder / (unicodedata.normalize("NFC", "café") + ".txt")).write_text("trg")


def duplicates(folder: Path) -> None:
    """One picture, 160 times."""
    dataset(folder, pairs=0)
    for number in range(160):
        drawing(0).save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text("trg")


def wrong_sizes(folder: Path) -> None:
    """Upright pictures, too narrow for a training size that is wide."""
    dataset(folder, pairs=0)
    for number in range(24):
        drawing(number, 96, 128).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("trg")


def masks_and_notes(folder: Path) -> None:
    """What other trainers and people leave beside pictures."""
    dataset(folder)
    drawing(9).convert("L").save(folder / "good0-masklabel.png")
    (folder / "good0_0200x0150_flux.npz").write_bytes(b"PK")
    (folder / "notes.txt").write_text("buy milk")


NOISE = np.random.default_rng(3).bytes(2000)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + NOISE
_FORMATS = {"avif": "AVIF", "gif": "GIF", "jfif": "JPEG", "tga": "TGA", "jp2": "JPEG2000"}
CASES |= {
    "format-heic": file_beside_caption("a.heic", HEIC),
    "format-jxl": file_beside_caption("a.jxl", b"\xff\x0a" + NOISE),
    "format-svg": file_beside_caption("a.svg", b"<svg/>"),
    "named-jpg-is-heic": file_beside_caption("a.jpg", HEIC),
    "named-jpg-is-html": file_beside_caption("a.jpg", b"<!DOCTYPE html><html>404</html>"),
    "named-jpg-is-empty": file_beside_caption("a.jpg", b""),
    **{f"format-{suffix}": one(drawing(100), f"a.{suffix}", format=form) for suffix, form in _FORMATS.items()},
    "kohya-folder": kohya_folder,
    "metadata-jsonl": metadata_jsonl,
    "caption-dot-caption": other_caption("x.caption", "trg a red barn"),
    "caption-json": other_caption("x.json", '{"caption": "trg a red barn"}'),
    "caption-double-suffix": other_caption("x.png.txt", "trg a red barn"),
    "pairs-in-subfolder": pairs_in_subfolder,
    "style-described": style_described,
    "recipe-yml": recipe_yml,
    "nfd-picture-nfc-caption": nfd_picture_nfc_caption,
    "duplicates-159": duplicates,
    "wrong-sizes-24": wrong_sizes,
    "masks-and-notes": masks_and_notes,
    "too-many-pixels": one(Image.new("RGB", (10000, 9000), (10, 200, 30)), "h.jpg", quality=30),
}


def build_case(name: str, folder: Path) -> Path:
    """The folder of one case."""
    CASES[name](folder)
    return folder
