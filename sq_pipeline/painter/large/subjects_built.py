"""The subjects that people built, outlined and lit. Not here: rocks and plants (`subjects_grown`).

Each stands with its foot at `(x, base)`, about `size` high.
"""

import math
import random
from collections.abc import Callable, Mapping

from sq_pipeline.painter.large.canvas import RGB, Canvas, Point, placed

DrawSubject = Callable[[Canvas, float, float, float, random.Random], None]


def _trunk(c: Canvas, x: float, halves: tuple[float, float], rows: tuple[float, float], colour: RGB) -> None:
    """A tapering wall from `rows[0]` (low) up to `rows[1]`, with courses of stone and its shadow side."""
    (low_half, high_half), (low, high), side = halves, rows, c.towards_light
    corners = [(x - low_half, low), (x - high_half, high), (x + high_half, high), (x + low_half, low)]
    c.shape(corners, c.lit(colour))
    shadow = [(x - side * low_half, low), (x - side * high_half, high)]
    c.shape(
        [*shadow, (x - side * high_half * 0.3, high), (x - side * low_half * 0.3, low)], c.lit(colour, 0.66), outline=0
    )
    course = low_half * 0.44
    seam = c.lit(colour, 0.5)
    for number in range(1, int((low - high) / course) + 1):
        y = low - number * course
        half = low_half + (high_half - low_half) * (low - y) / (low - high)
        c.line([(x - half, y), (x + half, y)], seam, 0.5)
        for across in (-0.5, 0.0, 0.5) if number % 2 else (-0.75, -0.25, 0.25, 0.75):
            c.line([(x + half * across, y), (x + half * across, min(low, y + course))], seam, 0.5)
    c.line([*corners, corners[0]], c.lit(colour, 0.34), 1)
    c.line([(x + side * low_half * 0.9, low), (x + side * high_half * 0.9, high)], c.edge(colour), 0.9)


def _window(c: Canvas, x: float, y: float, half: float, tall: float) -> None:
    c.box(x - half, y - tall, x + half, y + tall, c.pane, outline=1)
    frame = c.lit((70, 44, 34))
    c.line([(x, y - tall), (x, y + tall)], frame, 0.7)
    c.line([(x - half, y), (x + half, y)], frame, 0.7)


def _door(c: Canvas, x: float, base: float, half: float, tall: float, colour: RGB) -> None:
    rise = [
        (x - half * math.cos(math.pi * part / 8), base - tall - half * math.sin(math.pi * part / 8))
        for part in range(9)
    ]
    c.shape([(x - half, base), *rise, (x + half, base)], c.lit(colour))
    c.line([(x, base), (x, base - tall - half)], c.lit(colour, 0.5), 0.7)


def _tiles(c: Canvas, corners: list[Point], colour: RGB, rows: int) -> None:
    """A roof through four corners (low left, high left, high right, low right) with rows of tiles."""
    low_left, high_left, high_right, low_right = corners
    c.shape(corners, c.lit(colour))
    seam = c.lit(colour, 0.6)
    for row in range(rows):
        first, last = row / rows, (row + 1) / rows
        ends = [
            [
                (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)
                for a, b in ((low_left, high_left), (low_right, high_right))
            ]
            for share in (first, last)
        ]
        c.line([*ends[1]], seam, 0.8)
        count = 7
        for tile in range(count):
            share = (tile + (0.5 if row % 2 else 1)) / count
            at = [a[0] + (b[0] - a[0]) * share for a, b in ends]
            if share < 1:
                c.line([(at[0], ends[0][0][1]), (at[1], ends[1][0][1])], seam, 0.6)
    c.line([*corners, corners[0]], c.lit(colour, 0.36), 1)
    c.line([high_left, high_right], c.edge(colour), 0.9)


def _planks(c: Canvas, left: float, top: float, right: float, base: float, colour: RGB, count: int) -> None:
    c.box(left, top, right, base, c.lit(colour))
    tall = (base - top) / count
    for plank in range(count):
        y = top + plank * tall
        c.line([(left, y + tall), (right, y + tall)], c.lit(colour, 0.6), 0.7)
        c.line([(left, y + tall * 0.3), (right, y + tall * 0.3)], c.lit(colour, 1.16), 0.6)
    near = left if c.towards_light > 0 else right
    wide = (right - left) * 0.22 * (1 if c.towards_light > 0 else -1)
    edges = sorted((near, near + wide))
    c.box(edges[0], top, edges[1], base, c.lit(colour, 0.62), outline=0)
    for plank in range(1, count):
        c.line([(edges[0], top + plank * tall), (edges[1], top + plank * tall)], c.lit(colour, 0.42), 0.7)
    c.line([(left, top), (right, top), (right, base), (left, base), (left, top)], c.lit(colour, 0.34), 1)


def _windmill(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    top = base - size * 0.66
    _trunk(c, x, (size * 0.2, size * 0.12), (base, top), (244, 232, 208))
    _door(c, x, base, size * 0.055, size * 0.13, (150, 76, 44))
    _window(c, x, base - size * 0.36, size * 0.045, size * 0.05)
    c.shape(placed(x, top, size, [(-0.16, 0), (-0.09, 0.15), (0.09, 0.15), (0.16, 0)]), c.lit((196, 62, 50)))
    hub = top - size * 0.04
    turn = rng.uniform(0.64, 0.9)
    for blade in range(4):
        angle = turn + blade * math.pi / 2
        along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))

        def at(
            out: float, aside: float, along: tuple[float, float] = along, across: tuple[float, float] = across
        ) -> Point:
            return x + size * (along[0] * out + across[0] * aside), hub + size * (along[1] * out + across[1] * aside)

        c.shape([at(0.13, 0), at(0.13, 0.14), at(0.53, 0.14), at(0.53, 0)], c.lit((252, 244, 226)))
        for out in (0.24, 0.33, 0.42):
            c.line([at(out, 0), at(out, 0.14)], c.lit((150, 116, 84)), 0.7)
        c.line([at(0, 0), at(0.54, 0)], c.lit((112, 70, 44)), 2)
    c.oval(x, hub, size * 0.045, size * 0.045, c.lit((112, 70, 44)))


def _tower(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top = size * rng.uniform(0.165, 0.18), base - size * 0.8
    pole = top - size * 0.36
    c.line([(x, top), (x, pole)], c.lit((84, 58, 44)), 1.2)
    c.shape(placed(x, pole, size, [(0, 0), (0.22, -0.05), (0, -0.11)]), c.lit((222, 48, 52)))
    _trunk(c, x, (half, half * 0.94), (base, top), (184, 178, 178))
    stone, wide = (170, 164, 166), half * 1.36
    for tooth in (-1, -0.42, 0.16, 0.74):
        left = x + wide * tooth
        c.box(left, top - size * 0.14, left + wide * 0.28, top - size * 0.04, c.lit(stone))
    c.box(x - wide, top - size * 0.07, x + wide, top + size * 0.05, c.lit(stone))
    edges = sorted((x - c.towards_light * wide, x - c.towards_light * wide * 0.3))
    c.box(edges[0] + 2, top - size * 0.055, edges[1], top + size * 0.04, c.lit(stone, 0.66), outline=0)
    c.line([(x - wide * 0.92, top - size * 0.05), (x + wide * 0.92, top - size * 0.05)], c.edge(stone), 0.7)
    for up in (0.38, 0.6):
        _window(c, x, base - size * up, size * 0.045, size * 0.06)
    _door(c, x, base, size * 0.065, size * 0.12, (124, 72, 44))


def _cabin(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, eaves = size * rng.uniform(0.43, 0.47), base - size * 0.36
    chimney = x + half * 0.42
    for puff, (across, up, radius) in enumerate(((0.02, 0.46, 0.045), (0.07, 0.55, 0.06), (0.15, 0.66, 0.075))):
        tone = c.lit((206 + 12 * puff, 208 + 12 * puff, 216 + 10 * puff))
        c.oval(chimney + across * size, eaves - up * size, radius * size, radius * size * 0.9, tone, outline=0)
    c.box(chimney, eaves - size * 0.42, chimney + half * 0.24, eaves - size * 0.1, c.lit((178, 92, 72)))
    _planks(c, x - half, eaves, x + half, base, (184, 118, 66), 6)
    for side in (-1, 1):
        for log in range(6):
            y = eaves + (base - eaves) * (log + 0.5) / 6
            c.oval(x + side * half, y, size * 0.03, size * 0.03, c.lit((232, 178, 112)), outline=0.7)
    roof = placed(
        x, eaves, 1, [(-half * 1.2, 0), (-half * 0.82, size * 0.32), (half * 0.82, size * 0.32), (half * 1.2, 0)]
    )
    _tiles(c, roof, (164, 58, 46), 4)
    _door(c, x, base, size * 0.075, size * 0.15, (96, 54, 34))
    for side in (-0.58, 0.58):
        _window(c, x + half * side, base - size * 0.2, size * 0.075, size * 0.075)


def _tent(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top, side = size * rng.uniform(0.42, 0.46), base - size * 0.8, c.towards_light
    for lean in (-0.12, 0.0, 0.12):
        c.line(
            [(x - size * lean * 0.4, top + size * 0.08), (x + size * lean, top - size * 0.18)],
            c.lit((104, 68, 42)),
            1.6,
        )

    def at(across: float, up: float) -> Point:
        wide = 0.08 * size + (half - 0.08 * size) * (1 - up)
        return x + side * across * wide, base + (top - base) * up

    whole = [at(-1, 0), at(-1, 1), at(1, 1), at(1, 0)]
    c.shape(whole, c.lit((250, 232, 190)))
    for low, high, colour in ((0.26, 0.42, (214, 62, 48)), (0.8, 0.92, (46, 112, 168))):
        c.shape([at(-1, low), at(-1, high), at(1, high), at(1, low)], c.lit(colour), outline=0.6)
    teeth = [at(-1 + tooth / 4, 0.31 if tooth % 2 else 0.37) for tooth in range(9)]
    c.line(teeth, c.lit((255, 224, 120)), 1.6)
    for low, high, colour in ((0, 0.26, (192, 162, 118)), (0.26, 0.42, (140, 36, 36)), (0.42, 0.8, (192, 162, 118))):
        c.shape([at(-1, low), at(-1, high), at(-0.4, high), at(-0.4, low)], c.lit(colour), outline=0)
    c.shape([at(-1, 0.8), at(-1, 0.92), at(-0.4, 0.92), at(-0.4, 0.8)], c.lit((26, 72, 122)), outline=0)
    c.line([*whole, whole[0]], c.lit((88, 62, 40)), 1)
    c.line([at(0, 0.44), at(0, 0.98)], c.lit((150, 116, 76)), 0.7)
    c.shape([at(-0.26, 0), at(0, 0.46), at(0.26, 0)], c.lit((74, 44, 34)) if c.lift < 0.1 else c.pane)
    c.line([at(0.9, 0.03), at(0.84, 0.97)], c.edge((250, 232, 190)), 0.9)


def _ship(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, deck, side = size * rng.uniform(0.54, 0.58), base - size * 0.24, c.towards_light
    c.box(x - size * 0.025, base - size * 1.02, x + size * 0.025, deck, c.lit((120, 78, 48)), outline=0.7)
    c.shape(placed(x, base, size, [(0.02, 1.1), (0.2, 1.05), (0.02, 1.0)]), c.lit((222, 48, 52)))
    main = placed(x, base, size, [(0.05, 0.96), (0.3, 0.68), (0.5, 0.34), (0.05, 0.34)])
    fore = placed(x, base, size, [(-0.05, 0.88), (-0.24, 0.64), (-0.42, 0.34), (-0.05, 0.34)])
    for sail, is_lit in ((main, side > 0), (fore, side < 0)):
        c.shape(sail, c.lit((255, 250, 236) if is_lit else (220, 208, 188)))
    for up, right, left in ((0.48, 0.42, -0.34), (0.64, 0.32, -0.24)):
        c.line(placed(x, base, size, [(0.05, up), (right, up)]), c.lit((206, 72, 60)), 1.6)
        c.line(placed(x, base, size, [(-0.05, up), (left, up)]), c.lit((206, 72, 60)), 1.6)
    hull = [(x - half, deck), (x - half * 0.7, base), (x + half * 0.74, base), (x + half * 1.1, deck - size * 0.03)]
    c.shape(hull, c.lit((168, 92, 52)))
    for row in (0.3, 0.55, 0.8):
        left, right = x - half * (1 - 0.3 * row), x + half * (1.1 - 0.36 * row)
        c.line([(left, deck + size * 0.24 * row), (right, deck + size * 0.24 * row)], c.lit((104, 54, 34)), 0.7)
    c.shape(
        [hull[0], hull[1], (x - half * 0.2, base), (x - half * 0.34, deck)]
        if side > 0
        else [hull[3], hull[2], (x + half * 0.2, base), (x + half * 0.34, deck)],
        c.lit((118, 60, 38)),
        outline=0,
    )
    c.line([*hull, hull[0]], c.lit((66, 32, 22)), 1)
    c.shape(
        [
            (x - half * 1.03, deck - size * 0.03),
            (x - half * 0.98, deck + size * 0.03),
            (x + half * 1.06, deck + size * 0.02),
            (x + half * 1.12, deck - size * 0.06),
        ],
        c.lit((236, 184, 92)),
    )
    for across in (-0.5, -0.1, 0.3, 0.68):
        c.oval(x + half * across, deck + size * 0.1, size * 0.033, size * 0.033, c.pane)


def _church(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, eaves = size * rng.uniform(0.36, 0.39), base - size * 0.34
    white, slate = (250, 246, 240), (92, 88, 132)
    _planks(c, x - half * 0.3, eaves, x + half * 1.25, base, white, 6)
    roof = [(x - half * 0.3, eaves), (x - half * 0.1, eaves - size * 0.22), (x + half * 1.1, eaves - size * 0.22)]
    _tiles(c, [*roof, (x + half * 1.4, eaves)], slate, 3)
    for across in (0.25, 0.62, 0.98):
        middle = x + half * across
        _door(c, middle, base - size * 0.1, size * 0.036, size * 0.1, (60, 50, 60))
        c.oval(middle, base - size * 0.17, size * 0.026, size * 0.07, c.pane, outline=0.5)
    left, right = x - half * 1.1, x - half * 0.14
    middle, top = (left + right) / 2, base - size * 0.66
    _planks(c, left, top, right, base, white, 10)
    spire = [(left - size * 0.04, top), (middle, base - size * 1.06), (right + size * 0.04, top)]
    c.shape(spire, c.lit(slate))
    dark_corner = spire[0] if c.towards_light > 0 else spire[2]
    c.shape([dark_corner, spire[1], (middle, top)], c.lit(slate, 0.62), outline=0)
    c.line([spire[1], spire[2 if c.towards_light > 0 else 0]], c.edge(slate), 0.8)
    cross = base - size * 1.06
    for points in ([(0, 0), (0, 0.17)], [(-0.055, 0.115), (0.055, 0.115)]):
        c.line(placed(middle, cross, size, points), c.lit((236, 190, 70)), 1.6)
    c.oval(middle, base - size * 0.52, size * 0.07, size * 0.07, c.pane)
    _door(c, middle, base, size * 0.07, size * 0.15, (150, 66, 50))


def _wagon(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, bed, side = size * rng.uniform(0.46, 0.5), base - size * 0.24, c.towards_light
    arc = [(math.cos(math.pi * part / 16), math.sin(math.pi * part / 16)) for part in range(17)]
    cover = [(x + side * half * 1.06 * across, bed - size * 0.5 * up) for across, up in arc]
    c.shape(cover, c.lit((254, 246, 226)))
    c.shape([*cover[9:], (x - side * half * 0.44, bed)], c.lit((204, 188, 156)), outline=0)
    for rib in (-0.66, -0.33, 0.0, 0.33, 0.66):
        high = math.sqrt(1 - rib**2)
        c.line([(x + half * rib * 1.06, bed), (x + half * rib, bed - size * 0.5 * high)], c.lit((176, 150, 110)), 0.9)
    c.line([*cover, cover[0]], c.lit((96, 76, 54)), 1)
    c.line(cover[2:8], c.edge((254, 246, 226)), 0.9)
    c.line([(x - half * 1.05, bed + size * 0.1), (x - half * 1.42, base - size * 0.03)], c.lit((112, 66, 40)), 2)
    _planks(c, x - half * 1.08, bed - size * 0.03, x + half * 1.08, bed + size * 0.11, (186, 76, 46), 2)
    for across in (-0.64, 0.64):
        wheel, radius = (x + half * across, base - size * 0.14), size * 0.165
        c.oval(*wheel, radius, radius, c.lit((96, 56, 34)))
        c.oval(*wheel, radius * 0.74, radius * 0.74, c.lit((244, 214, 150)), outline=0.6)
        for spoke in range(4):
            turn = spoke * math.pi / 4 + 0.2
            reach = (math.cos(turn) * radius * 0.74, math.sin(turn) * radius * 0.74)
            ends = [(wheel[0] - reach[0], wheel[1] - reach[1]), (wheel[0] + reach[0], wheel[1] + reach[1])]
            c.line(ends, c.lit((112, 66, 40)), 1)
        c.oval(*wheel, radius * 0.22, radius * 0.22, c.lit((96, 56, 34)))


DRAW: Mapping[str, DrawSubject] = {
    "windmill": _windmill,
    "tower": _tower,
    "cabin": _cabin,
    "tent": _tent,
    "ship": _ship,
    "church": _church,
    "wagon": _wagon,
}
