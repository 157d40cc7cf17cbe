"""What is drawn on, and its light: lit shapes with an outline and a shadow side. Not here: what is drawn.

Lengths are in pixels of the canvas, which is `SUPERSAMPLING` times the picture; `unit` is a hundredth of its shorter
side, so that shapes and lines keep their weight in every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 2
_OUTLINE_UNITS = 0.9
_OUTLINE = 0.38  # of the shape's own colour: a line of ink, tinted


def shade(colour: RGB, factor: float) -> RGB:
    """The colour made darker (`factor` < 1) or lighter, clipped to 0–255."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in colour)
    return red, green, blue


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`share` of the second colour in the first, 0–1."""
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def placed(x: float, base: float, size: float, pairs: Sequence[Point]) -> list[Point]:
    """Points of the canvas from `pairs` in shares of `size`: across from `x`, up from `base`."""
    return [(x + across * size, base - up * size) for across, up in pairs]


@dataclass(frozen=True)
class Canvas:
    """A picture being drawn, `light` (a colour) of `strength` on it, falling from the left or from the right.

    `lift` is the share of the bare light in each lit colour: at night it keeps dark things apart from the dark.
    `rim` is the colour of an edge that the light falls on, `pane` that of a window: glass by day, lamplight by night.
    """

    image: Image.Image
    draw: ImageDraw.ImageDraw
    light: RGB
    strength: float
    is_lit_from_left: bool = True
    lift: float = 0
    rim: RGB = (255, 255, 255)
    pane: RGB = (140, 196, 228)

    @property
    def unit(self) -> float:
        """A hundredth of the shorter side."""
        return min(self.image.size) / 100

    @property
    def towards_light(self) -> int:
        """-1 where the light stands on the left, 1 where it stands on the right."""
        return -1 if self.is_lit_from_left else 1

    def lit(self, colour: RGB, factor: float = 1) -> RGB:
        """The colour under this scene's light, `factor` times as bright."""
        red, green, blue = (
            max(0, min(255, round((a * (1 - self.lift) + 255 * self.lift) * b / 255 * self.strength * factor)))
            for a, b in zip(colour, self.light, strict=True)
        )
        return red, green, blue

    def edge(self, colour: RGB) -> RGB:
        """The colour of an edge of something of this colour that the light falls on: nearly `rim` at night."""
        return mix(self.lit(colour, 1.15), self.rim, min(1, 0.3 + 4 * self.lift))

    def picture(self) -> Image.Image:
        """What is drawn so far, at the picture's own size."""
        return self.image.reduce(SUPERSAMPLING)

    def shape(self, points: Sequence[Point], colour: RGB, *, outline: float = 1) -> None:
        """A filled polygon in an already lit colour, with an ink line around it of `outline` times the usual width."""
        corners = [(float(x), float(y)) for x, y in points]
        self.draw.polygon(corners, fill=colour)
        if outline:
            self.line([*corners, corners[0]], shade(colour, _OUTLINE), outline)

    def line(self, points: Sequence[Point], colour: RGB, width: float = 1) -> None:
        """A line through `points` in an already lit colour, `width` times the usual ink line, with round joints."""
        pixels = max(1, round(self.unit * _OUTLINE_UNITS * width))
        self.draw.line([(float(x), float(y)) for x, y in points], fill=colour, width=pixels, joint="curve")

    def oval(
        self, x: float, y: float, half_width: float, half_height: float, colour: RGB, *, outline: float = 1
    ) -> None:
        """A filled ellipse around `(x, y)` in an already lit colour, with an ink line around it."""
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        ink = max(1, round(self.unit * _OUTLINE_UNITS * outline)) if outline else 0
        self.draw.ellipse(box, fill=colour, outline=shade(colour, _OUTLINE) if outline else None, width=ink)

    def box(self, left: float, top: float, right: float, bottom: float, colour: RGB, *, outline: float = 1) -> None:
        """A filled rectangle in an already lit colour, with an ink line around it."""
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour, outline=outline)
