"""A pen for figures: smooth forms in the figure's own measure, with a shadow side, a lit edge and marks inside.

Not here: what is drawn (`people`, `creatures`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from sq_pipeline.painter.large.canvas import RGB, Canvas, Point, mix, shade

Tone = float | RGB
_STEPS = 5
_SHADOW = 0.66
_INK = 0.3
_WHITE = (255, 255, 255)


def in_clear_light(canvas: Canvas) -> Canvas:
    """The canvas with half its tint taken from the light, so that a figure's colours are told at every time of day."""
    return replace(
        canvas, light=mix(canvas.light, _WHITE, 0.55), strength=max(canvas.strength, 0.96), lift=0.4 * canvas.lift
    )


@dataclass(frozen=True)
class Mark:
    """Something drawn inside a form and cut off at its edge: a line of `width`, or an area where that is 0.

    Its tone is a factor of the form's own colour, or a colour.
    """

    points: Sequence[Point]
    tone: Tone
    width: float = 0
    is_sharp: bool = False


@dataclass(frozen=True)
class Pen:
    """Draws in a frame with its origin at `(x, y)` of the canvas, `scale` pixels a unit; `side` -1 mirrors."""

    canvas: Canvas
    x: float
    y: float
    scale: float
    side: int = 1

    def place(self, points: Sequence[Point]) -> list[Point]:
        """The points in pixels of the canvas."""
        return [(self.x + self.side * x * self.scale, self.y + y * self.scale) for x, y in points]

    def form(
        self,
        points: Sequence[Point],
        colour: RGB,
        *,
        depth: float = 1,
        marks: Sequence[Mark] = (),
        outline: float = 1,
        is_sharp: bool = False,
        is_rimmed: bool = True,
    ) -> None:
        """A closed form through `points` in the scene's light; its shadow side is `depth` wide."""
        edge = self.place(points) if is_sharp else _smooth(self.place(points))
        left, top = int(min(x for x, _ in edge)) - 1, int(min(y for _, y in edge)) - 1
        width = int(max(x for x, _ in edge)) + 2 - left
        height = int(max(y for _, y in edge)) + 2 - top
        corners = [(x - left, y - top) for x, y in edge]
        mask = Image.new("1", (width, height))
        ImageDraw.Draw(mask).polygon(corners, fill=1)

        lit = self.canvas.lit(colour)
        towards = -1 if self.canvas.is_lit_from_left else 1
        across, up = towards * depth * self.scale, 0.45 * depth * self.scale
        layer = Image.new("RGB", (width, height), shade(lit, _SHADOW) if depth else lit)
        draw = ImageDraw.Draw(layer)
        if depth:
            draw.polygon([(x + across, y - up) for x, y in corners], fill=lit)
        for mark in marks:
            self._mark(draw, mark, lit, (left, top))
        if is_rimmed:
            self._rim(draw, corners, lit, towards)
        self.canvas.image.paste(layer, (left, top), mask)
        if outline:
            self.canvas.line([*edge, *edge[:2]], shade(lit, _INK), outline)

    def line(self, points: Sequence[Point], colour: RGB, width: float = 1, *, is_sharp: bool = False) -> None:
        """A line through `points` in the scene's light, `width` times the usual ink line."""
        edge = self.place(points) if is_sharp else _smooth(self.place(points), is_closed=False)
        self.canvas.line(edge, self.canvas.lit(colour), width)

    def oval(self, x: float, y: float, half_width: float, half_height: float, colour: RGB, outline: float = 1) -> None:
        """A filled ellipse in the scene's light."""
        ((middle_x, middle_y),) = self.place([(x, y)])
        size = (half_width * self.scale, half_height * self.scale)
        self.canvas.oval(middle_x, middle_y, *size, self.canvas.lit(colour), outline=outline)

    def limb(self, points: Sequence[Point], width: float, colour: RGB) -> None:
        """A long thin part of even width, in units, with an ink line at both sides."""
        edge = _smooth(self.place(points), is_closed=False)
        lit, ink = self.canvas.lit(colour), 1.8 * self.canvas.unit
        thick = width * self.scale
        for tone, extra in ((shade(lit, _INK), ink), (lit, 0)):
            size = max(1, round(thick + extra))
            self.canvas.draw.line(edge, fill=tone, width=size, joint="curve")
            for x, y in (edge[0], edge[-1]):
                self.canvas.oval(x, y, size / 2, size / 2, tone, outline=0)
        gleam = -0.22 * thick if self.canvas.is_lit_from_left else 0.22 * thick
        top = [(x + gleam, y - 0.2 * thick) for x, y in edge]
        self.canvas.draw.line(
            top, fill=mix(lit, self.canvas.rim, 0.4), width=max(1, round(thick * 0.22)), joint="curve"
        )

    def _mark(self, draw: ImageDraw.ImageDraw, mark: Mark, lit: RGB, corner: tuple[int, int]) -> None:
        colour = self.canvas.lit(mark.tone) if isinstance(mark.tone, tuple) else shade(lit, mark.tone)
        placed = self.place(mark.points)
        edge = placed if mark.is_sharp else _smooth(placed, is_closed=not mark.width)
        points = [(x - corner[0], y - corner[1]) for x, y in edge]
        if mark.width:
            draw.line(points, fill=colour, width=max(1, round(mark.width * self.canvas.unit)), joint="curve")
        else:
            draw.polygon(points, fill=colour)

    def _rim(self, draw: ImageDraw.ImageDraw, corners: Sequence[Point], lit: RGB, towards: int) -> None:
        ends = [*corners[1:], corners[0]]
        area = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(corners, ends, strict=True))
        turn = 1 if area > 0 else -1
        colour = mix(lit, self.canvas.rim, 0.55)
        width = max(2, round(2.6 * self.canvas.unit))
        for (x, y), (next_x, next_y) in zip(corners, ends, strict=True):
            outward_x, outward_y = turn * (next_y - y), turn * (x - next_x)
            reach = outward_x * towards - 0.8 * outward_y
            if reach > 0.75 * (outward_x**2 + outward_y**2) ** 0.5:
                draw.line((x, y, next_x, next_y), fill=colour, width=width)


def ring(x: float, y: float, across: float, down: float) -> list[Point]:
    """Eight points around `(x, y)`, for a smooth form or mark."""
    corners = ((0, -1), (0.71, -0.71), (1, 0), (0.71, 0.71), (0, 1), (-0.71, 0.71), (-1, 0), (-0.71, -0.71))
    return [(x + across * a, y + down * b) for a, b in corners]


def _smooth(points: Sequence[Point], *, is_closed: bool = True) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    count = len(points)
    if count < 3:
        return list(points)
    curve: list[Point] = []
    for index in range(count if is_closed else count - 1):
        if is_closed:
            before, start, end, after = (points[(index + step) % count] for step in (-1, 0, 1, 2))
        else:
            before, start, end, after = (points[min(max(index + step, 0), count - 1)] for step in (-1, 0, 1, 2))
        curve.extend(_weighted(before, start, end, after, weights) for weights in _WEIGHTS)
    return curve if is_closed else [*curve, points[-1]]


def _weighted(
    before: Point, start: Point, end: Point, after: Point, weights: tuple[float, float, float, float]
) -> Point:
    a, b, c, d = weights
    return (
        a * before[0] + b * start[0] + c * end[0] + d * after[0],
        a * before[1] + b * start[1] + c * end[1] + d * after[1],
    )


def _weights(way: float) -> tuple[float, float, float, float]:
    square, cube = way**2, way**3
    return (
        (-cube + 2 * square - way) / 2,
        (3 * cube - 5 * square + 2) / 2,
        (-3 * cube + 4 * square + way) / 2,
        (cube - square) / 2,
    )


_WEIGHTS = [_weights(step / _STEPS) for step in range(_STEPS)]
