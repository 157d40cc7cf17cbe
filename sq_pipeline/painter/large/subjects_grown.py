"""The subjects that nature made, outlined and lit: rocks, a mountain, plants. Not here: the built (`subjects_built`).

Each stands with its foot at `(x, base)`, about `size` high.
"""

import math
import random
from collections.abc import Callable, Mapping

from sq_pipeline.painter.large.canvas import RGB, Canvas, Point, placed

DrawSubject = Callable[[Canvas, float, float, float, random.Random], None]

_CLIFF, _BAND, _CREAM = (206, 92, 52), (160, 58, 40), (244, 176, 112)


def _mesa(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    wide, side = size * rng.uniform(0.96, 1.04), c.towards_light

    def at(*pairs: Point) -> list[Point]:
        return [(x + side * across * wide, base - up * size) for across, up in pairs]

    talus = at((-0.62, 0), (-0.46, 0.22), (0.46, 0.22), (0.62, 0))
    c.shape(talus, c.lit((190, 104, 62)))
    c.shape(at((-0.62, 0), (-0.46, 0.22), (-0.12, 0.22), (-0.24, 0)), c.lit((140, 66, 48)), outline=0)
    for across in (-0.02, 0.16, 0.34):
        c.line(at((across, 0.2), (across * 1.28, 0.03)), c.lit((140, 66, 48)), 0.9)
    cliff = at((-0.46, 0.22), (-0.43, 0.68), (0.43, 0.68), (0.46, 0.22))
    c.shape(cliff, c.lit(_CLIFF))
    for low, high, colour in ((0.56, 0.68, _CREAM), (0.48, 0.52, _BAND), (0.38, 0.43, _CREAM), (0.28, 0.32, _BAND)):
        c.shape(at((-0.45, low), (-0.44, high), (0.44, high), (0.45, low)), c.lit(colour), outline=0)
    dark = c.lit((128, 48, 40))
    c.shape(at((-0.46, 0.22), (-0.43, 0.68), (-0.16, 0.68), (-0.2, 0.5), (-0.12, 0.22)), dark, outline=0)
    for across in (-0.02, 0.14, 0.3):
        c.line(at((across, 0.66), (across + 0.02, 0.46), (across, 0.24)), dark, 0.8)
    c.line([*cliff, cliff[0]], c.lit((80, 30, 24)), 1)
    c.line(at((-0.14, 0.665), (0.42, 0.665), (0.445, 0.3)), c.edge(_CREAM), 0.9)


def _mountain(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    wide, side = size * rng.uniform(0.96, 1.04), c.towards_light

    def at(*pairs: Point) -> list[Point]:
        return [(x + side * across * wide, base - up * size) for across, up in pairs]

    c.shape(at((-0.74, 0), (-0.42, 0.56), (-0.1, 0)), c.lit((92, 102, 140)))
    c.shape(at((-0.42, 0.56), (-0.52, 0.38), (-0.42, 0.42), (-0.34, 0.36), (-0.31, 0.38)), c.lit((214, 224, 244)))
    whole = at((-0.56, 0), (0, 1.06), (0.7, 0))
    c.shape(whole, c.lit((126, 140, 178)))
    c.shape(at((-0.56, 0), (0, 1.06), (-0.06, 0.6), (0.06, 0.34), (-0.08, 0)), c.lit((78, 88, 128)), outline=0)
    for points in (
        at((0.16, 0.5), (0.26, 0.3), (0.2, 0.3), (0.34, 0)),
        at((0.34, 0.36), (0.42, 0.2), (0.38, 0.18), (0.5, 0)),
    ):
        c.shape([*points, (points[1][0] - side * size * 0.12, base)], c.lit((98, 110, 152)), outline=0)
    cap = at(
        (0, 1.06), (-0.23, 0.62), (-0.15, 0.66), (-0.09, 0.54), (0, 0.66), (0.08, 0.52), (0.16, 0.64), (0.28, 0.64)
    )
    c.shape(cap, c.lit((252, 253, 255)))
    c.shape(
        at((0, 1.04), (-0.22, 0.63), (-0.15, 0.67), (-0.09, 0.56), (-0.02, 0.64)), c.lit((176, 196, 232)), outline=0
    )
    c.line(at((0, 1.06), (0.27, 0.66)), c.edge((252, 253, 255)), 0.9)


# how far the arch's rough outside stands from a round one, from its lit foot to the other
_ROUGH = (1.12, 1.04, 1.1, 1.0, 1.07, 1.0, 0.97, 1.06, 1.0, 1.04, 0.96, 1.02, 1.09, 1.02, 1.12)


def _arch(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    inner, side = rng.uniform(0.27, 0.31), c.towards_light
    last = len(_ROUGH) - 1

    def ring(share: float, first: int = 0) -> list[Point]:
        across, up = inner + (0.56 - inner) * share, 0.54 + 0.36 * share
        points = []
        for part in range(first, last + 1):
            angle, rough = math.pi * part / last, 1 + (_ROUGH[part] - 1) * share
            cosine, sine = math.cos(angle), math.sin(angle)
            square = math.copysign(abs(cosine) ** 0.75, cosine)
            points.append((x + side * size * across * rough * square, base - size * up * rough * sine**0.75))
        return points

    whole = [*ring(1), *reversed(ring(0))]
    c.shape(whole, c.lit((226, 124, 70)))
    c.shape([*ring(0.3), *reversed(ring(0))], c.lit((246, 174, 116)), outline=0)
    for share in (0.3, 0.56, 0.8):
        c.line(ring(share), c.lit((176, 80, 50)), 1)
    c.shape([*ring(1, 9), *reversed(ring(0, 9))], c.lit((150, 66, 46)), outline=0)
    for share in (0.3, 0.56, 0.8):
        c.line(ring(share, 9), c.lit((108, 46, 38)), 1)
    c.line([*whole, whole[0]], c.lit((88, 38, 28)), 1)
    c.line(ring(0.95)[1:8], c.edge((246, 174, 116)), 0.9)


def _pine(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    wide, side = rng.uniform(0.33, 0.37), c.towards_light
    trunk = placed(x, base, size, [(-0.06, 0), (-0.05, 0.24), (0.05, 0.24), (0.06, 0)])
    c.shape(trunk, c.lit((128, 80, 46)))
    c.shape(
        [(x, trunk[1][1]), (x, base), trunk[0 if side > 0 else 3], trunk[1 if side > 0 else 2]], c.lit((84, 50, 34))
    )
    green, dark, light = c.lit((50, 158, 78)), c.lit((28, 114, 70)), c.lit((112, 204, 100))
    for low, share, tall in ((0.14, 1.0, 0.4), (0.36, 0.8, 0.36), (0.57, 0.6, 0.32), (0.76, 0.4, 0.3)):
        half = wide * share

        def at(across: float, up: float, half: float = half, low: float = low) -> Point:
            return x + side * across * half * size, base - (low + up) * size

        edge = [at(1 - part * 0.25, 0.035 if part % 2 else -0.02) for part in range(9)]
        c.shape([at(0, tall), *edge], green)
        c.shape([at(0, tall), at(-0.08, tall * 0.5), *edge[4:]], dark, outline=0)
        for across, up in ((0.62, 0.1), (0.36, 0.1), (0.12, 0.1), (0.3, 0.46), (0.1, 0.46)):
            tip = at(across, tall * up)
            reach = size * 0.035
            c.line([(tip[0] - reach, tip[1] + reach), tip, (tip[0] + reach, tip[1] + reach)], light, 0.7)
        c.line(edge[:5], c.edge((112, 204, 100)), 0.7)
        c.line([at(0.08, tall * 0.88), at(0.92, 0.03)], c.edge((112, 204, 100)), 0.8)


def _cactus(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    green, ink = c.lit((84, 172, 76)), c.lit((24, 66, 34))
    arms = ((-1, rng.uniform(0.34, 0.38), 0.34), (1, rng.uniform(0.44, 0.48), 0.3))
    line = max(2.0, c.unit * 0.9)
    for grown, colour in ((line, ink), (0, green)):
        for side, elbow, reach in arms:
            _arm(c, x, base - elbow * size, side * 0.29 * size, reach * size, 0.07 * size + grown, colour)
        top, half = base - 0.96 * size, 0.105 * size
        box = (x - half - grown, top - grown, x + half + grown, base + grown * 0.5)
        c.draw.rounded_rectangle(box, radius=half + grown, fill=colour)
    side = c.towards_light
    dark, light = c.lit((44, 122, 58)), c.lit((156, 216, 112))
    columns: list[tuple[float, float, float, float]] = [(x, base - 0.9 * size, base, 0.105 * size)]
    for turn, elbow, reach in arms:
        arm = x + turn * 0.29 * size
        columns.append((arm, base - (elbow + reach) * size + 0.06 * size, base - (elbow - 0.03) * size, 0.07 * size))
    for middle, top, foot, half in columns:
        shadow = sorted((middle - side * half * 0.98, middle - side * half * 0.38))
        c.draw.rounded_rectangle((shadow[0], top, shadow[1], foot), radius=half * 0.3, fill=dark)
        c.line([(middle + side * half * 0.05, top), (middle + side * half * 0.05, foot)], dark, 0.8)
        c.line([(middle + side * half * 0.6, top), (middle + side * half * 0.6, foot)], light, 1.1)
        _spines(c, middle, top, foot, half, side)
    for middle, top in ((x, base - 0.96 * size), (columns[2][0], columns[2][1] - 0.06 * size)):
        c.oval(middle, top, size * 0.06, size * 0.045, c.lit((244, 84, 140)))


def _spines(c: Canvas, middle: float, top: float, foot: float, half: float, side: int) -> None:
    pale = c.lit((246, 246, 204))
    step = half * 0.9
    for number in range(1, int((foot - top) / step)):
        y = top + number * step
        at = middle + side * half * (0.28 if number % 2 else -0.2)
        c.line([(at, y), (at + side * half * 0.16, y - half * 0.22)], pale, 0.6)


def _arm(c: Canvas, x: float, elbow: float, across: float, reach: float, half: float, colour: RGB) -> None:
    left, right = sorted((x, x + across))
    c.draw.rounded_rectangle((left - half, elbow - half, right + half, elbow + half), radius=half, fill=colour)
    c.draw.rounded_rectangle(
        (x + across - half, elbow - reach - half * 0.2, x + across + half, elbow + half), radius=half, fill=colour
    )


DRAW: Mapping[str, DrawSubject] = {
    "mesa": _mesa,
    "mountain": _mountain,
    "pine": _pine,
    "cactus": _cactus,
    "arch": _arch,
}
