"""A grid of pictures with labelled columns and rows, with Pillow. Not here: sheets without labels (`sheets`)."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_MOST_PX = 512  # a side of a picture: a larger one is scaled down, a smaller one is shown pixel for pixel
_LEAST_PX = 112  # of a column, so that its label can be read
_MARGIN_PX = 220  # of the rows' labels, at most
_GAP_PX, _LINE_PX, _TITLE_PX = 6, 17, 24
_PAPER, _INK, _FAINT = (250, 250, 248), (40, 40, 44), (110, 110, 116)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_labelled_grid(
    title: str, columns: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], pictures: Sequence[Sequence[bytes]]
) -> bytes:
    """A PNG of `pictures`, PNG bytes, a sequence a row. `columns` and `rows` are the lines of each one's label.

    All are scaled by one factor, at most 1. What is too long for its place is cut in the middle: names begin alike.
    """
    opened = [[_open(png) for png in line] for line in pictures]
    sides = [(image.width, image.height) for line in opened for image in line]
    wide, tall = max(width for width, _ in sides), max(height for _, height in sides)
    factor = min(1.0, _MOST_PX / max(wide, tall))
    font, large = ImageFont.load_default(size=13), ImageFont.load_default(size=15)
    width, height = max(_LEAST_PX, round(wide * factor)), max(round(tall * factor), _LINE_PX * max(map(len, rows)))
    longest = max((_length(text, font) for row in rows for text in row), default=0)
    left = _GAP_PX + min(_MARGIN_PX, round(longest) + 1) + _GAP_PX
    top = _GAP_PX + _TITLE_PX + _LINE_PX * max(map(len, columns)) + _GAP_PX
    across, down = left + len(columns) * (width + _GAP_PX), top + len(rows) * (height + _GAP_PX)
    sheet = Image.new("RGB", (across, down), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP_PX, _GAP_PX), _fit(title, large, across - 2 * _GAP_PX), fill=_INK, font=large)
    for at, lines in enumerate(columns):
        x = left + at * (width + _GAP_PX)
        _write(draw, lines, (x, top - _GAP_PX - _LINE_PX * len(lines)), width, font, faint=0)
    for at, lines in enumerate(rows):
        place = (_GAP_PX, top + at * (height + _GAP_PX))
        _write(draw, lines, place, left - 2 * _GAP_PX, font, faint=len(lines) - 1)
    for row, line in enumerate(opened):
        for column, image in enumerate(line):
            if factor < 1:
                size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
                image = image.resize(size, Image.Resampling.LANCZOS)
            x, y = left + column * (width + _GAP_PX), top + row * (height + _GAP_PX)
            sheet.paste(image, (x + (width - image.width) // 2, y + (height - image.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _open(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGB")


def _write(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], place: tuple[int, int], width: int, font: _Font, faint: int
) -> None:
    """The lines below each other; one of them is fainter."""
    for at, text in enumerate(lines):
        ink = _FAINT if at == faint else _INK
        draw.text((place[0], place[1] + at * _LINE_PX), _fit(text, font, width), fill=ink, font=font)


def _length(text: str, font: _Font) -> float:
    return font.getlength(text)


def _fit(text: str, font: _Font, width: int) -> str:
    """The text, with `…` for its middle where it is too long."""
    keep = len(text)
    shown = text
    while keep > 1 and _length(shown, font) > width:
        keep -= 1
        shown = f"{text[: (keep + 1) // 2]}…{text[len(text) - keep // 2 :]}"
    return shown
