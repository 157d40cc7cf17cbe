"""The parts of a person: hair, head, face, coat, headwear. One unit is half a face's width; the nose is at (0, 0)."""

from collections.abc import Callable, Mapping

from sq_pipeline.painter.large.canvas import RGB, Point, mix, shade
from sq_pipeline.painter.large.pen import Mark, Pen, ring

HAIR: Mapping[str, RGB] = {
    "black": (46, 42, 58),
    "brown": (128, 76, 38),
    "blond": (246, 208, 98),
    "red": (216, 78, 26),
    "grey": (178, 184, 196),
}
SKIN: Mapping[str, RGB] = {
    "pale": (255, 226, 208),
    "tanned": (238, 164, 98),
    "brown": (160, 94, 58),
    "dark": (86, 52, 42),
}
CLOTH: Mapping[str, RGB] = {
    "red": (204, 38, 44),
    "blue": (42, 88, 206),
    "green": (40, 146, 72),
    "yellow": (244, 192, 36),
    "white": (240, 240, 234),
    "purple": (130, 58, 172),
}
_GOLD, _STEEL, _FELT, _SCARF = (250, 200, 60), (168, 180, 196), (112, 76, 48), (24, 160, 160)
_WHITE, _INK = (255, 255, 255), (34, 26, 34)
_FRAME = (60, 40, 34)

DrawHeadwear = Callable[[Pen, RGB, RGB], None]
DrawFace = Callable[[Pen, RGB, float], None]


def _mirrored(half: list[Point]) -> list[Point]:
    """The half from the middle line's top to its bottom, and the same on the other side."""
    return [*half, *((-x, y) for x, y in reversed(half) if x)]


def hair_behind(pen: Pen, hair: RGB, _cloth: RGB) -> None:
    """The hair behind the neck, down to the shoulders."""
    half = [(0.0, -1.3), (0.9, -1.05), (1.28, -0.2), (1.36, 0.9), (1.5, 1.75), (0.9, 2.1), (0.0, 2.0)]
    pen.form(_mirrored(half), shade(hair, 0.72), depth=0.3)


def _hood_behind(pen: Pen, _hair: RGB, cloth: RGB) -> None:
    half = [(0.0, -2.15), (0.75, -1.75), (1.45, -0.8), (1.75, 0.5), (1.95, 1.6), (1.5, 2.3), (0.0, 2.5)]
    pen.form(_mirrored(half), shade(cloth, 0.82), depth=0.35)


BEHIND: Mapping[str, DrawHeadwear] = {"hood": _hood_behind}


def body(pen: Pen, cloth: RGB, build: float, bottom: float) -> None:
    """The coat: shoulders, sleeves, folds, lapels and buttons, down to `bottom`."""
    wide = 2.55 * build
    half = [
        (0.0, 1.5),
        (0.75, 1.62),
        (wide * 0.72, 2.05),
        (wide * 0.95, 2.6),
        (wide * 1.05, 3.6),
        (wide * 1.12, bottom + 0.6),
        (0.0, bottom + 0.9),
    ]
    folds = [
        Mark(
            [(side * wide * at, top), (side * wide * (at - 0.1), top + 0.5), (side * wide * (at - 0.3), top + 0.8)],
            0.7,
            1.5,
        )
        for side in (-1, 1)
        for at, top in ((0.68, 2.9), (0.68, 3.6))
    ]
    hems = [
        Mark([(side * wide * 0.08, 3.2), (side * wide * 0.36, 2.75), (side * wide * 0.44, 2.2)], 1.14, 1.6)
        for side in (-1, 1)
    ]
    seams = [
        Mark([(side * wide * 0.76, 2.75), (side * wide * 0.7, 3.4), (side * wide * 0.73, bottom)], 0.36, 1.6)
        for side in (-1, 1)
    ]
    gleams = [
        Mark([(side * wide * 0.5, 2.3), (side * wide * 0.76, 2.5), (side * wide * 0.88, 2.95)], 1.16, 2.4)
        for side in (-1, 1)
    ]
    pen.form(_mirrored(half), cloth, depth=0.55, marks=[*folds, *hems, *gleams, *seams])
    pen.form([(-0.62, 1.7), (0.62, 1.7), (0.3, 2.7), (0, 3.1), (-0.3, 2.7)], (246, 236, 214), depth=0.2, is_sharp=True)
    pen.line([(0, 3.1), (0.04, bottom)], shade(cloth, 0.4), 1.2)
    for row in range(3):
        pen.oval(0.24, 3.35 + 0.55 * row, 0.11, 0.11, _GOLD)
    for side in (-1, 1):
        lapel = [(side * 0.5, 1.5), (side * 1.12, 1.8), (side * 1.02, 2.5), (side * 0.05, 3.15), (side * 0.42, 2.3)]
        pen.form(lapel, shade(mix(cloth, _WHITE, 0.12), 1.08), depth=0.14, is_sharp=True)


def head(pen: Pen, skin: RGB) -> None:
    """Neck, ears and the face without its features."""
    pen.form([(-0.5, 0.8), (0.5, 0.8), (0.6, 1.9), (0, 2.25), (-0.6, 1.9)], shade(skin, 0.72), depth=0.2)
    half = [(0.0, -1.42), (0.72, -1.2), (1.0, -0.5), (1.0, 0.15), (0.84, 0.8), (0.46, 1.24), (0.0, 1.36)]
    cheeks = [Mark(ring(side * 0.58, 0.45, 0.26, 0.17), mix(skin, (232, 92, 80), 0.26)) for side in (-1, 1)]
    pen.form(_mirrored(half), skin, depth=0.28, marks=cheeks)


def features(pen: Pen, skin: RGB, hair: RGB, turn: float) -> None:
    """Eyes, brows, nose and mouth, looking a little to one side by `turn`."""
    brow = mix(shade(hair, 0.7), _INK, 0.25)
    for side in (-1, 1):
        x = side * 0.42 + turn
        pen.oval(x, -0.12, 0.25, 0.17, (250, 248, 244), outline=0.7)
        pen.oval(x + turn * 0.6, -0.11, 0.13, 0.15, (52, 40, 48), outline=0)
        pen.oval(x + turn * 0.6 - 0.05, -0.17, 0.045, 0.045, _WHITE, outline=0)
        pen.line([(x - 0.27, -0.14), (x, -0.32), (x + 0.27, -0.14)], _INK, 1.2)
        pen.line([(x - side * 0.26, -0.44), (x + side * 0.05, -0.56), (x + side * 0.32, -0.44)], brow, 2.4)
    nose = turn * 1.5
    pen.line([(nose + 0.02, -0.05), (nose + 0.16, 0.34), (nose - 0.1, 0.38)], shade(skin, 0.6), 1.3)
    pen.line([(turn - 0.3, 0.76), (turn, 0.83), (turn + 0.3, 0.74)], mix(shade(skin, 0.55), (150, 30, 40), 0.4), 1.7)


def _plain(_pen: Pen, _hair: RGB, _turn: float) -> None:
    return


def _bearded(pen: Pen, hair: RGB, turn: float) -> None:
    half = [(1.02, -0.1), (1.06, 0.6), (0.92, 1.25), (0.55, 1.85), (0.0, 2.25)]
    inner = [(0.0, 0.48), (0.42, 0.5), (0.72, 0.5), (0.86, 0.1)]
    strands = [
        Mark([(at * 0.9, 0.75), (at * 1.05, 1.25), (at * 0.6, 1.9)], tone, 1.5)
        for at, tone in ((-0.75, 0.72), (-0.4, 1.2), (0, 0.74), (0.4, 1.2), (0.75, 0.72))
    ]
    outline = [*inner, *half]
    both = [*outline, *((-x, y) for x, y in reversed(outline) if x)]
    pen.form(both, shade(hair, 0.94), depth=0.25, marks=strands)
    pen.line([(turn - 0.24, 0.84), (turn, 0.88), (turn + 0.24, 0.83)], (150, 50, 52), 2.6)


def _eyepatch(pen: Pen, _hair: RGB, turn: float) -> None:
    pen.line([(-1.0, 0.12), (-0.4, -0.2), (1.0, -0.95)], _INK, 2.6)
    x = -0.42 + turn
    patch = [(x - 0.42, -0.4), (x + 0.36, -0.48), (x + 0.4, -0.02), (x + 0.08, 0.3), (x - 0.32, 0.14)]
    pen.form(patch, (44, 36, 44), depth=0.12)


def _spectacles(pen: Pen, _hair: RGB, turn: float) -> None:
    for side in (-1, 1):
        x = side * 0.46 + turn
        pen.oval(x, -0.08, 0.42, 0.42, (206, 234, 246))
        pen.line([(x - 0.3, 0.06), (x - 0.02, -0.4)], _WHITE, 2.6)
        pen.oval(x + turn * 0.6, -0.04, 0.12, 0.15, (52, 40, 48), outline=0)
        pen.line([(x - 0.26, -0.12), (x, -0.24), (x + 0.26, -0.12)], _INK, 1.4)
        pen.line([*ring(x, -0.08, 0.42, 0.42), (x, -0.5)], _FRAME, 2.2)
        pen.line([(x + side * 0.42, -0.12), (side * 1.02, -0.2)], _FRAME, 2)
    pen.line([(turn - 0.06, -0.1), (turn + 0.06, -0.1)], _FRAME, 2.4)


FACES: Mapping[str, DrawFace] = {
    "plain": _plain,
    "bearded": _bearded,
    "eyepatch": _eyepatch,
    "spectacles": _spectacles,
}


def locks(pen: Pen, hair: RGB) -> None:
    """The hair at both sides of the face, over the shoulders: to be seen under every headwear."""
    for side in (-1, 1):
        outer = [(0.5, -1.3), (1.05, -1.1), (1.3, -0.3), (1.36, 0.7), (1.56, 1.5), (1.4, 2.25), (1.12, 2.5)]
        inner = [(0.92, 2.1), (0.9, 1.3), (0.96, 0.5), (0.86, -0.3), (0.7, -0.8)]
        strands = [
            Mark([(side * (at - 0.1), -0.9), (side * at, 0.4), (side * (at + 0.06), 2.3)], tone, 1.1)
            for at, tone in ((1.06, 1.25), (1.22, 0.7))
        ]
        pen.form([(side * x, y) for x, y in [*outer, *inner]], hair, depth=0.14, marks=strands)


def _bareheaded(pen: Pen, hair: RGB, _cloth: RGB) -> None:
    top = [(-1.3, -0.35), (-1.32, -1.1), (-0.85, -1.75), (-0.1, -1.98), (0.7, -1.84), (1.24, -1.25), (1.3, -0.35)]
    fringe = [(1.0, -0.62), (0.72, -0.98), (0.2, -0.98), (-0.3, -0.8), (-0.62, -0.98), (-0.95, -0.6)]
    strands = [
        Mark([(0.25, -1.9), (at, -1.35), (at * 1.3, -0.7)], tone, 1.4)
        for at, tone in ((-0.9, 1.25), (-0.4, 0.72), (0.45, 1.25), (0.9, 0.72))
    ]
    pen.form([*top, *fringe], hair, depth=0.25, marks=strands)


def _fringe(pen: Pen, hair: RGB) -> None:
    edge = [
        (-1.0, -1.2),
        (1.0, -1.2),
        (0.98, -0.62),
        (0.6, -0.8),
        (0.2, -0.62),
        (-0.2, -0.8),
        (-0.6, -0.62),
        (-0.98, -0.8),
    ]
    pen.form(edge, hair, depth=0.12)


def _hat(pen: Pen, hair: RGB, _cloth: RGB) -> None:
    _fringe(pen, hair)
    crown = [(-1.05, -0.95), (-1.0, -1.9), (-0.72, -2.5), (-0.1, -2.36), (0.5, -2.55), (0.98, -1.9), (1.05, -0.95)]
    band = Mark([(-1.3, -1.32), (0, -1.22), (1.3, -1.32)], (226, 196, 136), 5)
    dent = Mark([(-0.1, -2.4), (0.0, -2.0), (-0.05, -1.6)], 0.7, 1.6)
    pen.form(crown, _FELT, depth=0.35, marks=[dent, band])
    brim = [(-2.15, -1.3), (-1.1, -1.12), (0, -1.02), (1.1, -1.12), (2.15, -1.3)]
    under = [(1.75, -0.9), (0.9, -0.68), (0, -0.62), (-0.9, -0.68), (-1.75, -0.9)]
    pen.form([*brim, *under], shade(_FELT, 1.08), depth=0.12)


def _hood(pen: Pen, hair: RGB, cloth: RGB) -> None:
    _fringe(pen, hair)
    outer = [(1.5, 2.2), (1.95, 1.5), (1.82, 0.3), (1.5, -0.9), (0.85, -1.85), (0.0, -2.4)]
    inner = [(0.0, -1.16), (0.62, -0.98), (1.14, -0.3), (1.38, 0.6), (1.46, 1.5)]
    ring = [*((x, y) for x, y in outer), *((-x, y) for x, y in reversed(outer) if x)]
    hole = [*((-x, y) for x, y in reversed(inner)), *inner[1:]]
    folds = [
        Mark([(side * 0.2, -2.1), (side * 1.1, -1.1), (side * 1.6, 0.4), (side * 1.7, 1.8)], 0.74, 1.6)
        for side in (-1, 1)
    ]
    pen.form([*ring, *hole], mix(cloth, _WHITE, 0.06), depth=0.24, marks=folds)
    pen.form([(-0.2, 2.2), (0.2, 2.2), (0.26, 2.6), (0, 2.75), (-0.26, 2.6)], _GOLD, depth=0.1)


def _crown(pen: Pen, hair: RGB, cloth: RGB) -> None:
    _bareheaded(pen, hair, cloth)
    points = [(-1.16, -1.1), (-1.42, -2.5), (-0.78, -1.86), (-0.48, -2.7), (0, -2.0), (0.48, -2.7), (0.78, -1.86)]
    rest = [(1.42, -2.5), (1.16, -1.1), (0.5, -0.98), (-0.5, -0.98)]
    band = Mark([(-1.3, -1.3), (0, -1.16), (1.3, -1.3)], 0.78, 1.4)
    pen.form([*points, *rest], _GOLD, depth=0.3, is_sharp=True, marks=[band])
    for x, y, colour in ((-0.66, -1.5, (60, 120, 230)), (0.0, -1.46, (226, 40, 60)), (0.66, -1.5, (60, 120, 230))):
        pen.oval(x, y, 0.17, 0.19, colour)
    for x, y in ((-1.42, -2.52), (-0.48, -2.72), (0.48, -2.72), (1.42, -2.52)):
        pen.oval(x, y, 0.13, 0.13, _GOLD)


def _bandana(pen: Pen, _hair: RGB, _cloth: RGB) -> None:
    for tail in (
        [(1.1, -0.9), (1.9, -0.95), (2.1, -0.5), (1.3, -0.62)],
        [(1.1, -0.8), (1.7, -0.3), (1.62, 0.2), (1.16, -0.5)],
    ):
        pen.form(tail, shade(_SCARF, 0.86), depth=0.1)
    dome = [(-1.3, -0.62), (-1.26, -1.3), (-0.8, -1.82), (0, -2.0), (0.8, -1.82), (1.26, -1.3), (1.3, -0.62)]
    edge = [(0.7, -0.84), (0.0, -0.92), (-0.7, -0.84)]
    dots = [
        Mark(ring(x, y, 0.13, 0.13), (250, 250, 240))
        for x, y in ((-0.8, -1.24), (-0.3, -1.3), (0.25, -1.3), (0.8, -1.24), (-0.5, -1.66), (0, -1.72), (0.5, -1.66))
    ]
    pen.form([*dome, *edge], _SCARF, depth=0.25, marks=dots)
    pen.oval(1.2, -0.8, 0.2, 0.2, _SCARF)


def _helmet(pen: Pen, hair: RGB, _cloth: RGB) -> None:
    _fringe(pen, hair)
    dome = [(-1.32, -0.7), (-1.36, -1.3), (-0.95, -2.0), (-0.3, -2.36), (0, -2.7), (0.3, -2.36), (0.95, -2.0)]
    edge = [(1.36, -1.3), (1.32, -0.7), (0.7, -0.82), (0.0, -0.86), (-0.7, -0.82)]
    ridge = Mark([(0, -2.6), (0, -0.8)], 0.7, 3)
    shine = Mark([(-0.9, -1.2), (-0.74, -1.7), (-0.4, -2.0)], 1.3, 2.4)
    pen.form([*dome, *edge], _STEEL, depth=0.35, marks=[ridge, shine])
    band = [
        (-1.4, -1.0),
        (0, -1.16),
        (1.4, -1.0),
        (1.4, -0.62),
        (0.22, -0.74),
        (0.17, 0.3),
        (-0.17, 0.3),
        (-0.22, -0.74),
        (-1.4, -0.62),
    ]
    pen.form(band, shade(_STEEL, 0.86), depth=0.12, is_sharp=True)
    for x in (-1.1, -0.6, 0.6, 1.1):
        pen.oval(x, -0.88, 0.09, 0.09, _GOLD, outline=0.6)


HEADWEARS: Mapping[str, DrawHeadwear] = {
    "bareheaded": _bareheaded,
    "hat": _hat,
    "hood": _hood,
    "crown": _crown,
    "bandana": _bandana,
    "helmet": _helmet,
}
