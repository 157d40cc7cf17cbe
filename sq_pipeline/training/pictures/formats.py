"""What kinds of picture files there are: those that are read, and what another one is, by its beginning or its name.

Not here: opening pictures (`training.pictures.seen`).
"""

from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
# Read as well, but only beside a caption: before they were, such a file was nobody's picture, and must not become one.
MORE_IMAGE_SUFFIXES = frozenset({".gif", ".jfif", ".jpe", ".tga", ".avif", ".jp2", ".j2k", ".dib", ".ppm"})

_SAVE = "save it as PNG"
_EXPORT = "export it as PNG"
_DEVELOP = "develop it, and save it as PNG"
# by suffix: what it is, and what to do. None of them is opened.
_OTHER_PICTURES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (".heic", ".heif", ".hif"),
        ("is HEIC, which is not read here", f"{_SAVE} (on a Mac: `sips -s format png *.heic --out .`)"),
    ),
    ".jxl": ("is JPEG XL, which is not read here", f"{_SAVE} (`djxl` does it)"),
    **dict.fromkeys((".svg", ".svgz"), ("is a drawing, not a picture", _EXPORT)),
    **dict.fromkeys((".eps", ".ai", ".pdf"), ("is a document, not a picture", _EXPORT)),
    **dict.fromkeys((".psd", ".psb"), ("is a Photoshop file, which is not read here", _EXPORT)),
    **dict.fromkeys((".xcf", ".kra", ".clip"), ("is a painting program's own file, not read here", _EXPORT)),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"),
        ("is a camera's raw file, which is not read here", _DEVELOP),
    ),
    **dict.fromkeys((".exr", ".hdr"), ("has more than 8 bits a channel, which is not read here", f"{_SAVE} of 8 bits")),
    ".dds": ("is a game's texture (DDS), which is not read here", _SAVE),
    ".ico": ("is an icon, which is not read here", _SAVE),
    **dict.fromkeys((".mp4", ".mov", ".webm", ".mkv"), ("is a film, not a picture", "save its frames as PNG")),
}
_HEIC, _JXL = ("is HEIC, which is not read here", _SAVE), _OTHER_PICTURES[".jxl"]
AGAIN = "get the picture itself again"
# by how it begins
_MARKS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cJXL ", _JXL),
    (b"<svg", _OTHER_PICTURES[".svg"]),
    (b"%PDF", _OTHER_PICTURES[".pdf"]),
    (b"%!PS", _OTHER_PICTURES[".eps"]),
    (b"8BPS", _OTHER_PICTURES[".psd"]),
    (b"gimp xcf", _OTHER_PICTURES[".xcf"]),
    (b"DDS ", _OTHER_PICTURES[".dds"]),
    (b"\0\0\1\0", _OTHER_PICTURES[".ico"]),
    (b"\x76\x2f\x31\x01", _OTHER_PICTURES[".exr"]),
    (b"\x1a\x45\xdf\xa3", _OTHER_PICTURES[".webm"]),
    (b"<!doctype html", ("is an HTML page, not a picture", AGAIN)),
    (b"<html", ("is an HTML page, not a picture", AGAIN)),
    (b"<head", ("is an HTML page, not a picture", AGAIN)),
    (b"{", ("is JSON text, not a picture", AGAIN)),
    (b"version https://git-lfs", ("is a Git LFS pointer: the picture was never downloaded", "run `git lfs pull`")),
    (b"PK\x03\x04", ("is a ZIP archive, not a picture", "unpack it")),
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_FILM_BRANDS = (b"isom", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1", b"iso2")


def describe_other(path: Path) -> tuple[str, str] | None:
    """What a picture file is that is not read here, by its name, and what to do; None for a file of no such name."""
    return _OTHER_PICTURES.get(path.suffix.lower())


def describe_unreadable(path: Path, reason: str) -> tuple[str, str]:
    """What is wrong with a picture that did not open, and what to do; `reason` where nothing more is known of it."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        return f"cannot be read ({error.strerror})", "check the file"
    if not head:
        return "cannot be decoded: it has 0 bytes", AGAIN
    if head[4:8] == b"ftyp":
        brands = head[8:12], *(head[at : at + 4] for at in range(16, 32, 4))
        if any(brand in _HEIC_BRANDS for brand in brands) and b"avif" not in brands:
            return _HEIC
        if brands[0] in _FILM_BRANDS:
            return _OTHER_PICTURES[".mp4"]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<?xml"):
        return _OTHER_PICTURES[".svg"] if b"svg" in text else ("is XML text, not a picture", AGAIN)
    for mark, described in _MARKS:
        if head.startswith(mark) or text.lower().startswith(mark):
            return described
    if reason.startswith("cannot identify image file"):
        return "is no picture of a kind that is known here", AGAIN
    return f"cannot be decoded ({reason})", _SAVE.replace("save it", "save it again")
