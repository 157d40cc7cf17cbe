"""A few drawing helpers over Pillow: colours under a light, discs, arcs, polygons. Not here: what is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

RGB = tuple[int, int, int]


def shade(colour: RGB, factor: float) -> RGB:
    """The colour made darker (`factor` < 1) or lighter, clipped to 0–255."""
    red, green, blue = (max(0, min(255, round(part * factor))) for part in colour)
    return red, green, blue


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """`share` of the second colour in the first, 0–1."""
    red, green, blue = (round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Canvas:
    """A picture being drawn, and the light that falls on it."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    light: RGB
    strength: float

    def lit(self, colour: RGB) -> RGB:
        """The colour under this scene's light."""
        red, green, blue = (round(a * b / 255 * self.strength) for a, b in zip(colour, self.light, strict=True))
        return red, green, blue

    def disc(self, x: float, y: float, radius: float, colour: RGB) -> None:
        """A filled circle, not lit."""
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def arc(
        self,
        x: float,
        y: float,
        half_width: float,
        half_height: float,
        colour: RGB,
        width: int,
    ) -> None:
        """The upper half of an ellipse's outline, not lit."""
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        self.draw.arc(box, 180, 360, fill=colour, width=width)

    def polygon(self, points: Sequence[tuple[float, float]], colour: RGB) -> None:
        """A filled polygon, not lit."""
        self.draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: RGB) -> None:
        """A filled rectangle, not lit."""
        self.draw.rectangle((left, top, right, bottom), fill=colour)
