"""The one door to a training picture: as RGB as it is seen. Preflight and trainers open pictures here alone.

Upright by its EXIF, in sRGB by its colour profile, what is transparent over the recipe's `background`. Not here:
whether it is fit to train on (`preflight.pictures`).
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from sq_pipeline.common.errors import DatasetError, Fault
from sq_pipeline.training.pictures.colour_profiles import into_srgb
from sq_pipeline.training.pictures.formats import describe_unreadable

# What is opened, by Pillow's names. EPS, PDF and the like would run other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
_BY_NAME = {".tga": ("TGA",)}  # nothing in such a file says what it is, and much else could be taken for one
_HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_FAINT = 8  # of 255: what is no less transparent anywhere shows nothing


@dataclass(frozen=True)
class SeenPicture:
    """`image` is RGB. `is_as_stored`: its pixels are those of the file. `profile_fault`: why its profile was left out.

    `transparent_share` of its pixels let the background through.
    """

    image: Image.Image
    is_as_stored: bool
    profile_fault: str = ""
    transparent_share: float = 0.0


def parse_background(value: str) -> tuple[int, int, int] | None:
    """A recipe's `background`: `#rrggbb`, or a name of CSS; None for anything else."""
    if not _HEX_COLOUR.fullmatch(value) and value.lower() not in ImageColor.colormap:
        return None
    red, green, blue, *_ = ImageColor.getrgb(value)
    return red, green, blue


def read_picture(path: Path, background: str | None) -> Image.Image:
    """The picture as it is trained; raises DatasetError where it cannot be."""
    with open_picture(path, str(path)) as opened:
        return see(opened, background, str(path)).image


@contextmanager
def open_picture(path: Path, file: str) -> Iterator[Image.Image]:
    """The file, opened; `file` names it in errors. Raises DatasetError, also for what fails while it is open."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_BY_NAME.get(path.suffix.lower(), _FORMATS)) as opened:
                yield opened
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"(\d+) pixels", str(error))
        count = f"{int(found[1]):,} pixels" if found else "too many pixels"
        problem = f"has {count}; more than {Image.MAX_IMAGE_PIXELS or 0:,} are not opened"
        raise DatasetError(Fault(file, "", problem, "scale it down")) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        if isinstance(error, DatasetError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].replace(str(path), path.name)
        raise DatasetError(Fault(file, "", *describe_unreadable(path, reason))) from error


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as it is seen; raises DatasetError."""
    with open_picture(path, str(path)) as opened:
        width_px, height_px = opened.size
        is_turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (height_px, width_px) if is_turned else (width_px, height_px)


def see(opened: Image.Image, background: str | None, file: str) -> SeenPicture:
    """What is seen of an opened picture. Raises DatasetError where it shows nothing, or shows a background that nobody
    chose: the colours under transparent pixels are never read.
    """
    profile = opened.info.get("icc_profile")
    is_turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1
    image = ImageOps.exif_transpose(opened)
    alpha, share = None, 0.0
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        alpha = with_alpha.getchannel("A")
        share = _insist_on_background(alpha, background, file)
        image = image.convert("L") if image.mode == "LA" else with_alpha.convert("RGB")
    seen, fault = into_srgb(image, profile) if profile else (image.convert("RGB"), "")
    if alpha is not None and share and background is not None:
        ground = Image.new("RGB", seen.size, parse_background(background))
        seen = Image.composite(seen, ground, alpha)
    is_as_stored = opened.mode == "RGB" and not is_turned and not share and (not profile or seen is image)
    return SeenPicture(seen, is_as_stored, fault, share)


def _insist_on_background(alpha: Image.Image, background: str | None, file: str) -> float:
    """The share of pixels that are not opaque."""
    histogram = alpha.histogram()
    total = sum(histogram)
    share = 1 - histogram[255] / total
    if sum(histogram[_FAINT:]) == 0:
        raise DatasetError(
            Fault(file, "", "shows nothing (100 % transparent)", "remove it, or save it with its colours")
        )
    if share and (background is None or parse_background(background) is None):
        problem = f"is transparent in {describe_share(share)} of its pixels"
        raise DatasetError(Fault(file, "", problem, 'set `background: "#ffffff"` (or another colour) in lora.yaml'))
    return share


def describe_share(share: float) -> str:
    """A share as a person reads it; never 0 or 100 % of what is neither."""
    if share >= 0.995:
        return "100 %" if share == 1 else "over 99 %"
    return f"{share * 100:.0f} %" if share >= 0.01 else f"{max(share * 100, 0.001):.1g} %"
