"""Contact sheets and thumbnails, with Pillow. Not here: what is on them (`verification.report`, `gallery`)."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_LABEL_PX, _GAP_PX, _TITLE_PX = 16, 6, 22


_PAPER, _INK = (250, 250, 248), (40, 40, 44)


@dataclass(frozen=True)
class Tile:
    """A picture, `(height, width, 3)` uint8, and the line under it."""

    pixels: npt.NDArray[np.uint8]
    label: str


def draw_sheet(rows: Sequence[Sequence[Tile]], max_tile_px: int = 320, title: str = "") -> Image.Image:
    """Rows of labelled pictures, `title` above. Those wider than `max_tile_px` are scaled down, small ones doubled.

    The size that most have gives the places; a picture of another shape is as large as fits into its place.
    """
    (tall, wide), _ = Counter(tile.pixels.shape[:2] for row in rows for tile in row).most_common(1)[0]
    scale = min(1.0, max_tile_px / wide) if wide > max_tile_px / 2 else 2.0
    width, height = round(wide * scale), round(tall * scale)
    columns = max(map(len, rows))
    step_x, step_y = width + _GAP_PX, height + _LABEL_PX + _GAP_PX
    across, top = columns * step_x + _GAP_PX, _TITLE_PX if title else 0
    sheet = Image.new("RGB", (across, len(rows) * step_y + _GAP_PX + top), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    if title:
        large = ImageFont.load_default(size=14)
        draw.text((_GAP_PX, _GAP_PX), _fit(title, draw, large, across - 2 * _GAP_PX), fill=_INK, font=large)
    for row_index, row in enumerate(rows):
        for column, tile in enumerate(row):
            x, y = _GAP_PX + column * step_x, _GAP_PX + top + row_index * step_y
            sheet.paste(_fitted(tile.pixels, width, height), (x, y))
            draw.text((x + 1, y + height + 1), _fit(tile.label, draw, font, width), fill=_INK, font=font)
    return sheet


def _fitted(pixels: npt.NDArray[np.uint8], width: int, height: int) -> Image.Image:
    """The picture at this size; one of another shape in the middle of it, on the sheet's own paper."""
    tall, wide = pixels.shape[:2]
    fits = min(width / wide, height / tall)
    size = (max(1, round(wide * fits)), max(1, round(tall * fits)))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    if size == (width, height):
        return picture
    place = Image.new("RGB", (width, height), _PAPER)
    place.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
    return place


def _fit(label: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if draw.textlength(label, font=font) <= width:
        return label
    while label and draw.textlength(f"{label}…", font=font) > width:
        label = label[:-1]
    return f"{label}…"


def thumbnail_markdown(png: bytes, alt: str, max_side_px: int = 256) -> str:
    """Markdown with the picture inside it, as a JPEG data address of a few kilobytes: it lives in an event log."""
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB")
    small.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=82)
    return f"![{alt}](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def draw_gallery(pictures: Sequence[tuple[str, bytes]], columns: int = 4) -> bytes:
    """A PNG of all `pictures` (label, PNG bytes), in order, `columns` a row. Needs at least one."""
    tiles: list[Tile] = []
    for label, png in pictures:
        with Image.open(io.BytesIO(png)) as image:
            tiles.append(Tile(np.asarray(image.convert("RGB")), label))
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    buffer = io.BytesIO()
    draw_sheet(rows).save(buffer, format="PNG")
    return buffer.getvalue()
