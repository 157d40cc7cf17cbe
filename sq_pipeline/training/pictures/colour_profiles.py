"""Colour profiles of training pictures, into sRGB, which base models see. Not here: opening pictures (`seen`)."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_SAME_LEVELS = 2  # of 255: a profile that moves no colour further is sRGB's under another name
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # by the colours that a profile is for
_GREY = ("1", "L")
_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError, SyntaxError)


def into_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str]:
    """The picture (of the mode RGB, L or CMYK) as RGB in sRGB, and why its profile was left out, if it was.

    A profile that says sRGB leaves every pixel as it is.
    """
    transform, mode = _transform_of(profile)
    if mode is None:
        return _as_mode(image, "RGB"), "cannot be read"
    own = "CMYK" if image.mode == "CMYK" else "L" if image.mode in _GREY else "RGB"
    if mode != own and (mode, own) != ("RGB", "L"):  # grey in the RGB of a profile is well defined
        return _as_mode(image, "RGB"), "is not for such pixels"
    if transform is None:
        return _as_mode(image, "RGB"), ""
    converted = ImageCms.applyTransform(_as_mode(image, mode), transform)
    assert converted is not None
    return converted, ""


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


@lru_cache(maxsize=8)  # the pictures of one camera have one profile
def _transform_of(profile: bytes) -> tuple[ImageCms.ImageCmsTransform | None, str | None]:
    """The way into sRGB (None: nothing is to do) and the mode that it takes (None: the profile cannot be used)."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(str(getattr(source.profile, "xcolor_space", "")).strip())
        if mode is None:
            return None, None
        target = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, target, mode, "RGB", renderingIntent=intent)
    except _ERRORS:
        return None, None
    return (None if _changes_nothing(transform, mode) else transform), mode


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 18 if mode == "RGB" else 256).astype(np.uint8)
    cells = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3) if mode == "RGB" else levels[None]
    probe = Image.fromarray(cells, mode=mode)
    converted = ImageCms.applyTransform(probe, transform)
    assert converted is not None
    difference = np.asarray(converted).astype(int) - np.asarray(probe.convert("RGB")).astype(int)
    return int(np.abs(difference).max()) <= _SAME_LEVELS
