"""A person's file as the picture of a place: read as it is seen, with what it was painted over written into it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.base_models.base_models import SizePx
from sq_pipeline.common.errors import DatasetError, Fault, PictureError, SqPipelineError
from sq_pipeline.common.fingerprints import fingerprint, hash_bytes, hash_file
from sq_pipeline.common.hints import command
from sq_pipeline.pictures.png_file import encode_png
from sq_pipeline.pictures.provenance import AdoptedProvenance, PaintedOver
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.theirs import why_no_picture_of_ours
from sq_pipeline.pipeline.worlds.named_picture import NamedPicture
from sq_pipeline.training.pictures.formats import AGAIN
from sq_pipeline.training.pictures.seen import open_picture, see

_PNG_DEPTH_AT = 24  # the byte of a PNG that says how many bits a channel has (§11.2.1)
_HINTS = {AGAIN: "give a PNG or JPEG file"}  # in place of a dataset's: nobody has that file from elsewhere


def picture_of(context: Context, picture: NamedPicture, path: Path, *, is_any_size: bool) -> bytes:
    """The PNG that is kept. One of our own pictures of this very place, unchanged, is kept to the byte.

    Raises PictureError or DatasetError for a file that cannot be one.
    """
    file = context.data.relative(path)
    if path.is_symlink() or not path.is_file():
        raise PictureError(Fault(file, "", "is no file", "name a picture"))
    if why_no_picture_of_ours(context, path, picture.tier, picture.subject.slug, ()) is None:
        return path.read_bytes()
    image = _seen(context, picture, path, file)
    _insist_on_size(context, picture, image, path, file, is_any_size=is_any_size)
    pixels = np.asarray(image, dtype=np.uint8)
    said = AdoptedProvenance(
        pixels=hash_bytes(pixels.tobytes()),
        file_sha256=hash_file(path),
        genre=picture.world.genre,
        world=picture.world.name,
        slug=picture.subject.slug,
        tier=picture.tier,
        width_px=image.width,
        height_px=image.height,
        over=_painted_over(context, picture),
    )
    return encode_png(pixels, said.as_chunks())


def _seen(context: Context, picture: NamedPicture, path: Path, file: str) -> Image.Image:
    """As RGB, upright, in sRGB. What would be lost without a word is refused: bits, transparency, later frames."""
    lock = command("lock", picture.key, "--by", "WHO", "--tier", picture.tier)
    place = context.data.relative(context.picture_place(picture.world, picture.tier, picture.subject.slug))
    as_it_is = f"or put it at {place} and keep it as it is: {lock}"
    try:
        with open_picture(path, file) as opened:
            problem = _what_would_be_lost(opened, path)
            if problem is None:
                seen = see(opened, None, file).image
                seen.load()
                return seen
    except DatasetError as error:
        raise DatasetError(replace(fault, hint=_HINTS.get(fault.hint, fault.hint)) for fault in error.faults) from error
    told, way = problem
    raise PictureError(Fault(file, "", told, f"{way}, {as_it_is}"))


def _what_would_be_lost(opened: Image.Image, path: Path) -> tuple[str, str] | None:
    """Of a file that holds more than our pictures do: what, and what to do."""
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        return f"has {frames} frames", "save one of them as PNG"
    if opened.mode.startswith(("I", "F")) or (opened.format == "PNG" and _depth(path) > 8):
        return "has more than 8 bits a channel", "save it with 8 bits a channel"
    if opened.has_transparency_data and sum(opened.convert("RGBA").getchannel("A").histogram()[:255]):
        return "is transparent in places", "save it without an alpha channel"
    return None


def _depth(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 1)
    return head[_PNG_DEPTH_AT] if len(head) > _PNG_DEPTH_AT else 0


def _insist_on_size(
    context: Context, picture: NamedPicture, image: Image.Image, path: Path, file: str, *, is_any_size: bool
) -> None:
    wanted = _size_wanted(context, picture)
    if is_any_size or wanted is None or (image.width, image.height) == (wanted.width_px, wanted.height_px):
        return
    problem = f"is {image.width} × {image.height} pixels, and its place has {wanted.width_px} × {wanted.height_px}"
    as_it_is = command("adopt", picture.key, path, "--by", "WHO", "--any-size", "--tier", picture.tier)
    raise PictureError(Fault(file, "", problem, f"scale it, or keep it at its own size: {as_it_is}"))


def _size_wanted(context: Context, picture: NamedPicture) -> SizePx | None:
    """The size that it would be rendered with; None where that is not known."""
    try:
        base_model = context.base_model_of_world(picture.world)
        return picture.subject.own.over(context.render_settings(base_model, picture.tier)).size
    except SqPipelineError:
        return None


def _painted_over(context: Context, picture: NamedPicture) -> PaintedOver | None:
    """The picture that the game was given last."""
    key = context.picture_key(picture.world, picture.tier, picture.subject.slug)
    published = context.store.read_published(picture.world.genre).get(key)
    record = context.store.read_known("picture", published) if published else None
    if record is None:
        return None
    made_of = record.info.get("made_of") if "kept" in record.inputs else record.inputs
    if made_of is None:
        return None
    return PaintedOver(fingerprint=fingerprint(made_of), pixels=record.data_version, inputs=made_of)
