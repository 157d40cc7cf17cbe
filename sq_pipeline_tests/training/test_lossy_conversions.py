"""What a picture or a caption loses on its way into a training is chosen and said."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sq_pipeline.common.errors import DatasetError
from sq_pipeline.training.dataset import TrainingDataset, check_dataset
from sq_pipeline.training.pictures.seen import read_picture
from sq_pipeline_tests.builders import faults_of
from sq_pipeline_tests.cases.datasets import (
    CASES,
    FRAMES,
    GREY,
    MAGENTA,
    build_case,
    caption,
    cut_out,
    drawing,
    icc_profile,
    one,
    patches,
)


def check(folder: Path) -> TrainingDataset:
    return check_dataset(folder, "set", "tiny-flux")


def with_exif(image: Image.Image, tags: dict[int, object], interop: str) -> Callable[[Path], object]:
    exif = image.getexif()
    exif[0x8769] = {**tags, 0xA005: {1: interop}}
    return one(image, "camera.jpg", exif=exif)


def grey_ones(folder: Path) -> None:
    one(drawing(100), "coloured.png")(folder)
    for number in range(4):
        drawing(number).convert("L").save(folder / f"good{number}.png")


PALETTE_ALPHA = drawing(100).quantize(64)
BROTHERS = {
    "alpha-webp": one(cut_out(MAGENTA), "cut.webp", lossless=True, exact=True),
    "alpha-grey": one(cut_out(MAGENTA).convert("LA"), "cut.png"),
    "alpha-palette-of-alphas": one(PALETTE_ALPHA, "cut.png", transparency=bytes([0, 40, *[255] * 62])),
    "alpha-tiff": one(cut_out(MAGENTA, 250), "cut.tif"),
    "alpha-gif": one(drawing(100).quantize(64), "cut.gif", transparency=0),
    "alpha-hardly-any": one(cut_out(MAGENTA, 3).crop((0, 0, 100, 150)).resize((200, 150)), "cut.png", GREY),
    "alpha-nearly-all-background": one(
        Image.composite(cut_out(MAGENTA, 255), cut_out(MAGENTA).crop((0, 0, 1, 1)).resize((200, 150)),
                        Image.linear_gradient("L").resize((200, 150)).point([0] * 251 + [255] * 5)),
        "cut.png", GREY,
    ),
    "background-comment": one(cut_out(MAGENTA), "cut.png", "background: #808080\n"),
    "background-list": one(cut_out(MAGENTA), "cut.png", "background: [128, 128, 128]\n"),
    "background-number": one(cut_out(MAGENTA), "cut.png", "background: 808080\n"),
    "background-with-alpha": one(cut_out(MAGENTA), "cut.png", 'background: "#80808000"\n'),
    "background-name": one(cut_out(MAGENTA), "cut.png", "background: Gray\n"),
    "background-for-nothing": one(drawing(100), "whole.png", GREY),
    "profile-for-grey": one(patches(), "odd.png", icc_profile=icc_profile("grey")),
    "profile-cut-off": one(patches(), "odd.png", icc_profile=icc_profile("display-p3")[:200]),
    "adobe-rgb-by-exif": with_exif(drawing(100), {0xA001: 65535}, "R03"),
    "srgb-by-exif": with_exif(drawing(100), {0xA001: 1}, "R98"),
    "animated-gif": one(FRAMES[0], "a.gif", save_all=True, append_images=FRAMES[1:]),
    "high-100-by-2000": one(drawing(100, 130, 2000), "high.png"),
    "phone-upright": one(drawing(100, 216, 384), "phone.png"),
    "white-jpeg": one(Image.new("RGB", (200, 150), "white"), "white.jpg"),
    "colour-among-greys": grey_ones,
    "caption-escape": caption(b"trg \x1b[31m a red barn"),
    "caption-no-character": caption("trg a barn\ufffe".encode()),
    "caption-lines": caption(b"trg a barn\r\n\tat noon\r\n"),
    "caption-utf-16": caption("trg a barn".encode("utf-16")),
}  # fmt: skip

# what is refused, and what is said of it
FAULTS = {
    "alpha-hidden-magenta": ("cut.png", "is transparent in 50 % of its pixels; set `background:"),
    "alpha-hidden-black": ("cut.png", "is transparent in 50 % of its pixels; set `background:"),
    "alpha-background-faulty": ("lora.yaml: background", '"#rrggbb"'),
    "alpha-all-transparent": ("cut.png", "shows nothing (100 % transparent)"),
    "alpha-palette": ("pal.png", "is transparent in 0.8 % of its pixels"),
    "alpha-rgb-key": ("key.png", "is transparent in 25 % of its pixels"),
    "alpha-differs-only": ("cut.png", "is transparent in 50 % of its pixels"),
    "caption-nul": ("x.txt", "holds the character U+0000 at position 9"),
    "alpha-webp": ("cut.webp", "is transparent in 50 % of its pixels"),
    "alpha-grey": ("cut.png", "is transparent in 50 % of its pixels"),
    "alpha-palette-of-alphas": ("cut.png", "is transparent in "),
    "alpha-tiff": ("cut.tif", "is transparent in 50 % of its pixels"),
    "alpha-gif": ("cut.gif", "is transparent in 0.8 % of its pixels"),
    "alpha-hardly-any": ("cut.png", "shows nothing (100 % transparent)"),
    "background-comment": ("lora.yaml: background", "`#` begins a comment"),
    "background-list": ("lora.yaml: background", '"#rrggbb"'),
    "background-number": ("lora.yaml: background", '"#rrggbb"'),
    "background-with-alpha": ("lora.yaml: background", '"#rrggbb"'),
    "caption-escape": ("x.txt", "holds the character U+001B at position 4"),
    "caption-no-character": ("x.txt", "holds the character U+FFFE at position 10"),
    "caption-utf-16": ("x.txt", "is not UTF-8 text"),
}
# what is trained, and what is said of it: nothing, or one line
FIT = {
    "alpha-with-background": None,
    "alpha-half-with-background": None,
    "alpha-opaque": None,
    "profile-display-p3": None,
    "profile-adobe-like": None,
    "profile-srgb": None,
    "profile-broken": "odd.png: has a colour profile that cannot be read; taken as sRGB",
    "animated-webp": "a.webp: has 3 frames, the first is used",
    "animated-png": "a.png: has 3 frames, the first is used",
    "pages-tiff": "a.tif: has 3 pages, the first is used",
    "wide-4000-by-100": "wide.png: is 4000×100 pixels: a view of 128×96 shows 3 % of it",
    "black": "black.png: is of one colour only",
    "grey-among-colours": "grey.png: is grey among 4 in colour",
    "caption-bom": None,
    "caption-bom-style": None,
    "alpha-nearly-all-background": "cut.png: is transparent in 98 % of its pixels, which show the background",
    "background-name": None,
    "background-for-nothing": None,
    "profile-for-grey": "odd.png: has a colour profile that is not for such pixels; taken as sRGB",
    "profile-cut-off": "odd.png: has a colour profile that cannot be read; taken as sRGB",
    "adobe-rgb-by-exif": "camera.jpg: says in its EXIF that it is Adobe RGB",
    "srgb-by-exif": None,
    "animated-gif": "a.gif: has 3 frames, the first is used",
    "high-100-by-2000": "high.png: is 130×2000 pixels: a view of 128×96 shows 5 % of it",
    "phone-upright": None,
    "white-jpeg": "white.jpg: is of one colour only",
    "colour-among-greys": "coloured.png: is in colour among 4 that are grey",
    "caption-lines": None,
}


def build(name: str, folder: Path) -> Path:
    (CASES | BROTHERS)[name](folder)
    return folder


@pytest.mark.parametrize("case", FAULTS)
def test_what_loses_something_that_nobody_chose_is_refused(tmp_path: Path, case: str) -> None:
    file, words = FAULTS[case]
    (fault,) = faults_of(lambda: check(build(case, tmp_path / "set")), DatasetError)
    assert str(fault).startswith(f"set/{file}: ")
    assert words in str(fault)
    assert fault.hint


@pytest.mark.parametrize("case", FIT)
def test_what_is_lost_without_a_choice_is_told(tmp_path: Path, case: str) -> None:
    found = [str(warning) for warning in check(build(case, tmp_path / "set")).warnings]
    words = FIT[case]
    assert len(found) == (words is not None), found
    assert words is None or found[0].startswith(f"set/{words}")


# --- the pixels that are trained


@pytest.mark.parametrize(
    ("case", "colour", "tolerance"),
    [("alpha-with-background", (128, 128, 128), 0), ("alpha-half-with-background", (192, 64, 192), 1)],
)
def test_transparent_pixels_show_the_background(
    tmp_path: Path, case: str, colour: tuple[int, int, int], tolerance: int
) -> None:
    folder = build_case(case, tmp_path / "set")
    seen = np.asarray(read_picture(folder / "cut.png", "#808080")).astype(int)
    assert np.abs(seen[:, :100] - colour).max() <= tolerance
    assert (seen[:, 100:] == np.asarray(drawing(100))[:, 100:]).all()


SEEN_COLOURS = {
    "profile-display-p3": ("p3.png", [(109, 163, 117), (181, 118, 108), (108, 121, 165)]),
    "profile-adobe-like": ("wide.png", [(99, 161, 119), (187, 121, 110), (106, 121, 163)]),
    "profile-srgb": ("plain.png", [(120, 160, 120), (170, 120, 110), (110, 120, 160)]),
}


@pytest.mark.parametrize("case", SEEN_COLOURS)
def test_a_colour_profile_is_followed_into_srgb(tmp_path: Path, case: str) -> None:
    name, colours = SEEN_COLOURS[case]
    folder = build_case(case, tmp_path / "set")
    seen = np.asarray(read_picture(folder / name, None)).astype(int)
    for colour, left in zip(colours, (5, 75, 145), strict=True):
        assert np.abs(seen[:, left : left + 60] - colour).max() <= 2
    version = check(folder).data_version
    patches().save(folder / name)
    assert (check(folder).data_version == version) is bool((seen == np.asarray(patches())).all())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_profile_of_srgb_leaves_every_pixel_as_it_is(tmp_path: Path, suffix: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path, bare = tmp_path / f"with.{suffix}", tmp_path / f"without.{suffix}"
    drawing(5).save(path, icc_profile=srgb)
    drawing(5).save(bare)
    assert read_picture(path, None).tobytes() == read_picture(bare, None).tobytes()


def test_a_grey_picture_s_profile_is_followed_too(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 128).save(tmp_path / "a.png", icc_profile=icc_profile("grey"))
    level = np.asarray(read_picture(tmp_path / "a.png", None))[0, 0]
    assert tuple(level) == (188, 188, 188)  # half of the light


def test_a_profile_and_transparency_go_together(tmp_path: Path) -> None:
    image = patches().convert("RGBA")
    image.paste((1, 2, 3, 0), (0, 0, 210, 20))
    image.save(tmp_path / "a.png", icc_profile=icc_profile("display-p3"))
    seen = np.asarray(read_picture(tmp_path / "a.png", "#808080")).astype(int)
    assert (seen[:20] == 128).all()
    assert np.abs(seen[20:, :70] - (109, 163, 117)).max() <= 2


def test_what_is_under_transparent_pixels_is_no_one_s_colour(tmp_path: Path) -> None:
    """Two cut-outs that hide other colours show the same: they are duplicates, and of one data version."""
    versions = set()
    for hidden in (MAGENTA, (0, 255, 0)):
        folder = tmp_path / str(hidden)
        one(cut_out(hidden), "cut.png", GREY)(folder)
        versions.add(check(folder).data_version)
    assert len(versions) == 1
    cut_out(MAGENTA).save(folder / "twin.png")
    (folder / "twin.txt").write_text("trg")
    (fault,) = faults_of(lambda: check(folder), DatasetError)
    assert fault.problem == "shows the same pixels as cut.png"


def test_the_background_is_of_the_data_version_only_where_it_is_seen(tmp_path: Path) -> None:
    def version(image: Image.Image, colour: str) -> str:
        folder = tmp_path / f"{image.mode}{colour}"
        one(image, "x.png", f"background: {colour}\n")(folder)
        return check(folder).data_version

    assert version(drawing(100), "white") == version(drawing(100), "black")
    assert version(cut_out(MAGENTA), "white") != version(cut_out(MAGENTA), "black")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_a_picture_without_profile_and_transparency_is_read_as_it_always_was(tmp_path: Path, mode: str) -> None:
    """Byte for byte: the data versions of datasets stand on it."""
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    drawing(7).convert(mode).save(path)
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        before = opened.convert("RGB")
    assert read_picture(path, None).tobytes() == before.tobytes()


def test_a_byte_order_mark_is_no_part_of_a_caption(tmp_path: Path) -> None:
    folder = build_case("caption-bom", tmp_path / "set")
    version = check(folder).data_version
    assert check(folder).images[-1].caption == "trg a red barn"
    (folder / "x.txt").write_bytes(b"trg a red barn")
    assert check(folder).data_version == version
