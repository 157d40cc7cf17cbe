"""One picture of a dataset before it is trained: what is wrong with it, and what is worth a look.

Not here: how it is opened and seen (`training.pictures.seen`), what pictures are to each other (`training.dataset`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageChops

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.errors import Fault
from sq_pipeline.common.fingerprints import hash_bytes
from sq_pipeline.training.buckets import choose_bucket
from sq_pipeline.training.pictures.seen import SeenPicture, describe_share, open_picture, see
from sq_pipeline.training.preflight.like_faults import LikeFault

_RGB_READY = {"RGB", "RGBA", "P", "PA", "L", "LA", "CMYK", "YCbCr", "1"}
# how Pillow names the file's own layout where it cuts 16 bits a channel down to 8 without a word
_DEEP_LAYOUT = re.compile(r"(?:RGB[AXa]?|LA|CMYK);16")
_LEAST_SEEN = 0.4  # a phone's upright picture in a 4:3 view is seen to 42 %
_MOST_BACKGROUND = 0.9
_FLAT_LEVELS = 3  # of 255: JPEG's noise in one colour
_GREY_LEVELS = 8  # … and in the colours of a grey picture
_ADOBE_RGB = "R03"  # of EXIF's interoperability index
_COLOUR_SPACE, _INTEROPERABILITY_INDEX = 0xA001, 1


@dataclass(frozen=True)
class CheckedPicture:
    """The hash is of size and RGB pixels as they are trained. `notes` hinder nothing."""

    pixels_hash: str
    is_grey: bool
    is_flat: bool
    notes: tuple[Fault, ...]


def check_picture(path: Path, file: str, sizes: Sequence[SizePx], background: str | None) -> CheckedPicture | Fault:
    """The picture as it is trained, or what is wrong with it. It must be as large as one of `sizes`, if there are any.

    Raises DatasetError for what cannot be opened, or not be seen without a background.
    """
    with open_picture(path, file) as opened:
        is_deep = any(_DEEP_LAYOUT.search(str(tile.args)) for tile in getattr(opened, "tile", ()))
        opened.load()
        if is_deep:
            return Fault(file, "", "has 16 bits a channel, which loses data as RGB", "save it as 8-bit RGB")
        if opened.mode not in _RGB_READY:
            return Fault(file, "", f"has the mode {opened.mode}, which loses data as RGB", "save it as 8-bit RGB")
        seen = see(opened, background, file)
        notes = list(_notes_of_file(opened, seen, file))
    width, height = seen.image.size
    size = choose_bucket(width, height, sizes) if sizes else None
    if sizes and size is None:
        return _too_small(file, width, height, sizes)
    is_flat = all(high - low <= _FLAT_LEVELS for low, high in seen.image.getextrema())  # type: ignore[misc]
    if is_flat:
        notes.append(Fault(file, "", "is of one colour only", "look at it: it teaches nothing else"))
    if size is not None:
        notes += _note_of_view(file, width, height, size)
    pixels_hash = hash_bytes(f"{width}x{height}:".encode() + seen.image.tobytes())
    return CheckedPicture(pixels_hash, _is_grey(seen.image), is_flat, tuple(notes))


def _too_small(file: str, width: int, height: int, sizes: Sequence[SizePx]) -> Fault:
    wanted = f"{sizes[0].width_px}×{sizes[0].height_px}"
    problem = f"is {width}×{height} pixels, the training resolution is {wanted}"
    hint = "use larger pictures (they are never scaled up), or set `resolution`"
    if len(sizes) == 1:
        hint += ", or `aspect_buckets: true` for pictures of another shape"
    return LikeFault(file, "", problem, hint, f"is smaller than the training resolution of {wanted} pixels")


def _notes_of_file(opened: Image.Image, seen: SeenPicture, file: str) -> Iterator[Fault]:
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format != "MPO":  # a camera's second picture is a preview or a gain map
        what = "pages" if opened.format == "TIFF" else "frames"
        yield LikeFault(
            file, "", f"has {frames} {what}, the first is used", "", f"has several {what}, the first is used"
        )
    if seen.profile_fault:
        problem = f"has a colour profile that {seen.profile_fault}; taken as sRGB"
        yield Fault(file, "", problem, "save it as sRGB if its colours look wrong")
    elif "icc_profile" not in opened.info and _says_adobe_rgb(opened):
        problem = "says in its EXIF that it is Adobe RGB and has no colour profile; taken as sRGB"
        yield Fault(file, "", problem, "save it as sRGB")
    if seen.transparent_share > _MOST_BACKGROUND:
        share = describe_share(seen.transparent_share)
        problem = f"is transparent in {share} of its pixels, which show the background"
        yield LikeFault(file, "", problem, "cut it", "shows little but the background")


def _says_adobe_rgb(opened: Image.Image) -> bool:
    exif = opened.getexif()
    space = exif.get_ifd(ExifTags.IFD.Exif).get(_COLOUR_SPACE)
    index = exif.get_ifd(ExifTags.IFD.Interop).get(_INTEROPERABILITY_INDEX) if space not in (None, 1) else None
    return space == 2 or str(index).startswith(_ADOBE_RGB)


def _note_of_view(file: str, width: int, height: int, size: SizePx) -> Iterator[Fault]:
    aspect = size.width_px / size.height_px
    seen_share = min(width / height / aspect, height * aspect / width)
    if seen_share < _LEAST_SEEN:
        problem = f"is {width}×{height} pixels: a view of {size.width_px}×{size.height_px} shows {seen_share:.0%} of it"
        shared = f"is of another shape than its view: less than {_LEAST_SEEN:.0%} of it is seen at once"
        yield LikeFault(file, "", problem.replace("%", " %"), "cut it", shared.replace("%", " %"))


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = image.split()
    pairs = (red, green), (green, blue)
    return all(ImageChops.difference(*pair).getextrema()[1] <= _GREY_LEVELS for pair in pairs)  # type: ignore[operator]
