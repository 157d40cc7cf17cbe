"""The creatures' shapes. Each stands on (0, 0), about 100 units wide and 85 high, and looks to the right."""

from collections.abc import Callable, Mapping, Sequence

from sq_pipeline.painter.large.canvas import RGB, Point, mix, shade
from sq_pipeline.painter.large.pen import Mark, Pen, ring

COAT: Mapping[str, RGB] = {
    "black": (60, 56, 74),
    "white": (246, 246, 242),
    "grey": (148, 156, 170),
    "red": (206, 56, 40),
    "golden": (240, 178, 56),
    "green": (64, 160, 78),
}
_INK, _WHITE, _AMBER, _BONE = (28, 22, 30), (255, 255, 255), (255, 206, 60), (240, 230, 206)
_STONE, _FLESH = (138, 130, 128), (222, 84, 96)

DrawCreature = Callable[[Pen, RGB], None]


def _pale(coat: RGB) -> RGB:
    return mix(coat, (255, 244, 224), 0.45)


def _tufts(places: Sequence[Point], *, lean: float = -3, drop: float = 4) -> list[Mark]:
    """Short strokes of fur, dark and light by turns."""
    tones = (0.7, 1.22)
    return [
        Mark([(x, y), (x + lean, y + drop)], tones[number % 2], 1.1, is_sharp=True)
        for number, (x, y) in enumerate(places)
    ]


def _eye(pen: Pen, x: float, y: float, size: float, colour: RGB = _AMBER) -> None:
    pen.oval(x, y, size, size, colour)
    pen.oval(x + size * 0.2, y, size * 0.42, size * 0.7, _INK, 0)
    pen.oval(x - size * 0.2, y - size * 0.35, size * 0.25, size * 0.25, _WHITE, 0)


def _wolf(pen: Pen, coat: RGB) -> None:
    far = shade(coat, 0.66)
    pen.form([(20, -36), (31, -36), (29, -16), (33, -1), (24, -1), (22, -16)], far, depth=1)
    pen.form([(-30, -36), (-16, -32), (-21, -17), (-15, -1), (-24, -1), (-29, -16)], far, depth=1)
    tail = [(-32, -50), (-44, -50), (-55, -38), (-59, -20), (-53, -10), (-46, -16), (-39, -26), (-30, -36)]
    pen.form(tail, coat, depth=3, marks=[Mark([(-62, -22), (-52, -28), (-42, -14), (-56, -6)], _pale(coat))])
    body = [(-40, -44), (-32, -54), (-14, -55), (6, -58), (22, -62), (30, -52), (29, -36), (20, -24)]
    belly = [(8, -22), (-10, -28), (-24, -28), (-38, -32)]
    fur = _tufts([(-28, -46), (-18, -44), (-6, -43), (4, -46), (-22, -38), (-8, -37), (8, -38), (14, -48)])
    pen.form([*body, *belly], coat, depth=4, marks=fur)
    pen.form([(10, -42), (27, -42), (27, -18), (26, -5), (32, 0), (18, 0), (15, -18)], coat, depth=2)
    hind = [(-40, -46), (-20, -44), (-16, -28), (-27, -18), (-27, -5), (-21, 0), (-36, 0), (-39, -16), (-43, -32)]
    pen.form(hind, coat, depth=2)
    pen.form([(25, -68), (29, -85), (36, -70)], far, depth=0, is_sharp=True)
    head = [(8, -56), (14, -68), (23, -75), (34, -73), (40, -66), (52, -62), (54, -57), (50, -53), (39, -51)]
    ruff = [(36, -44), (31, -42), (29, -34), (24, -38), (19, -32), (15, -39), (8, -36)]
    cheek = Mark([(30, -54), (40, -62), (56, -58), (50, -50), (36, -46), (28, -36), (22, -44)], _pale(coat))
    pen.form([*head, *ruff], coat, depth=2.4, marks=[cheek, *_tufts([(14, -60), (18, -52), (22, -62), (18, -44)])])
    pen.form([(16, -70), (17, -88), (27, -73)], coat, depth=1.4, is_sharp=True)
    pen.oval(53, -60, 2.6, 2.4, _INK, 0)
    pen.line([(52, -54), (44, -55), (39, -58)], _INK, 1.3)
    _eye(pen, 36, -65, 2.8)
    pen.line([(31, -69), (40, -67)], shade(coat, 0.3), 1.8)


def _bear(pen: Pen, coat: RGB) -> None:
    far = shade(coat, 0.8)
    for side in (-1, 1):
        leg = [(side * 6, -24), (side * 26, -26), (side * 28, -8), (side * 32, -2), (side * 26, 1), (side * 9, 1)]
        pen.form(leg, far, depth=2)
        for claw in (13, 19, 25):
            pen.oval(side * claw, 0, 1.8, 2.2, _BONE, 0.7)
    body = [(0, -66), (18, -62), (28, -44), (31, -24), (22, -8), (0, -5)]
    whole = [*body, *((-x, y) for x, y in reversed(body) if x)]
    belly = Mark([(0, -48), (14, -42), (18, -24), (10, -12), (-10, -12), (-18, -24), (-14, -42)], _pale(coat))
    fur = _tufts([(-24, -34), (24, -34), (-22, -24), (22, -24), (-6, -34), (6, -30), (0, -22), (-8, -22)], lean=0)
    pen.form(whole, coat, depth=4, marks=[belly, *fur])
    for side in (-1, 1):
        arm = [
            (side * 16, -60),
            (side * 30, -60),
            (side * 40, -68),
            (side * 49, -70),
            (side * 50, -60),
            (side * 42, -50),
        ]
        pen.form([*arm, (side * 32, -42), (side * 20, -42)], coat, depth=2.4)
        for claw_x, claw_y in ((41, -71), (46, -73), (51, -70)):
            pen.form(
                [
                    (side * (claw_x - 1.8), claw_y),
                    (side * (claw_x + 1), claw_y - 6.5),
                    (side * (claw_x + 2), claw_y + 1),
                ],
                _BONE,
                depth=0,
                outline=0.7,
                is_sharp=True,
            )
    for side in (-1, 1):
        pen.oval(side * 15, -85, 6.5, 6.5, coat)
        pen.oval(side * 15, -85, 3.2, 3.2, far, 0)
    pen.form(ring(0, -73, 20, 17), coat, depth=3, marks=_tufts([(-14, -66), (14, -66), (-4, -86), (4, -86)], lean=0))
    pen.form(ring(0, -66, 10, 8), _pale(coat), depth=1.2)
    pen.oval(0, -70, 4.4, 3, _INK, 0)
    pen.form([(-6, -63), (6, -63), (4, -58), (-4, -58)], _FLESH, depth=0)
    for side in (-1, 1):
        _eye(pen, side * 8.5, -77, 2.8)
        pen.line([(side * 4, -80), (side * 14, -83.5)], shade(coat, 0.3), 2)
        pen.form([(side * 4.5, -63), (side * 2, -63), (side * 3.4, -59)], _WHITE, depth=0, outline=0.4, is_sharp=True)


def _horse(pen: Pen, coat: RGB) -> None:
    far, mane = shade(coat, 0.66), mix(shade(coat, 0.45), (90, 60, 50), 0.35)
    hoof = (66, 54, 56)
    for leg, tone in (
        ([(16, -34), (26, -34), (26, -18), (29, -2), (23, -2), (21, -18)], far),
        ([(-24, -34), (-12, -32), (-18, -18), (-13, -2), (-20, -2), (-24, -18)], far),
    ):
        pen.form(leg, tone, depth=1)
    tail = [(-34, -50), (-44, -50), (-50, -36), (-48, -14), (-54, -4), (-42, -8), (-39, -26), (-34, -40)]
    pen.form(tail, mane, depth=2, marks=[Mark([(-40, -46), (-45, -30), (-45, -10)], 1.4, 1.1)])
    body = [(-38, -46), (-28, -55), (-6, -51), (10, -55), (20, -68), (28, -82), (36, -72), (32, -56), (28, -42)]
    belly = [(20, -33), (2, -30), (-16, -33), (-32, -34)]
    pen.form([*body, *belly], coat, depth=4, marks=[Mark([(8, -50), (14, -42), (12, -34)], 0.72, 1.4)])
    for leg, low in (
        ([(10, -40), (24, -40), (20, -22), (20, -4), (12, -4), (13, -22)], 16),
        ([(-38, -44), (-20, -44), (-22, -30), (-29, -20), (-26, -4), (-34, -4), (-37, -18), (-40, -32)], -30),
    ):
        pen.form(leg, coat, depth=1.8)
        pen.form([(low - 4.4, -5), (low + 4.4, -5), (low + 6, 0), (low - 5, 0)], hoof, depth=0.8, is_sharp=True)
    pen.form([(24, -82), (26, -94), (32, -84)], coat, depth=1, is_sharp=True)
    head = [
        (22, -80),
        (28, -88),
        (36, -86),
        (44, -76),
        (52, -66),
        (52, -59),
        (46, -57),
        (38, -63),
        (32, -64),
        (24, -70),
    ]
    muzzle = Mark([(46, -72), (58, -64), (50, -54), (42, -60)], _pale(coat))
    pen.form(head, coat, depth=2, marks=[muzzle])
    hair = [(32, -92), (24, -92), (14, -80), (6, -62), (4, -52), (12, -54), (18, -62), (24, -72), (30, -80)]
    strands = [Mark([(26, -88), (18, -74), (10, -56)], 1.4, 1.1), Mark([(22, -88), (14, -74), (8, -58)], 0.7, 1)]
    pen.form(hair, mane, depth=1.4, marks=strands)
    pen.oval(50, -63, 1.3, 1.6, _INK, 0)
    pen.line([(50, -59), (45, -60)], _INK, 1.2)
    pen.oval(37, -77, 2.5, 2.7, _INK, 0)
    pen.oval(36.3, -78, 0.9, 0.9, _WHITE, 0)


def _raven(pen: Pen, coat: RGB) -> None:
    rock = [(-34, 1), (-30, -12), (-14, -19), (12, -18), (28, -12), (34, 1)]
    pen.form(rock, _STONE, depth=4, is_sharp=True, marks=[Mark([(-14, -19), (-8, -8), (-14, 1)], 0.7, 1.3)])
    dark = shade(coat, 0.72)
    tail = [(-18, -38), (-28, -40), (-54, -20), (-52, -12), (-44, -12), (-40, -8), (-30, -14), (-12, -26)]
    pen.form(
        tail, dark, depth=2, marks=[Mark([(-24, -32), (-46, -14)], 1.4, 1.2), Mark([(-22, -26), (-36, -12)], 1.4, 1.2)]
    )
    for x in (-2, 10):
        pen.limb([(x, -28), (x + 1, -19)], 2.6, (86, 74, 66))
        pen.limb([(x - 4, -17), (x + 1, -19), (x + 7, -17)], 2.2, (86, 74, 66))
    body = [(-24, -36), (-16, -56), (4, -70), (12, -84), (26, -89), (38, -82), (40, -70), (34, -50), (22, -34)]
    chest = [
        Mark([(x, y), (x + 3, y + 4), (x + 6, y)], 0.7, 1.2) for x, y in ((22, -58), (16, -50), (24, -48), (18, -40))
    ]
    pen.form([*body, (4, -25), (-14, -26)], coat, depth=3, marks=chest)
    wing = [(10, -62), (18, -50), (12, -36), (-6, -26), (-28, -18), (-44, -12), (-34, -28), (-22, -46), (-8, -60)]
    feathers = [
        Mark([(x, y), (x - 10, y + 9), (x - 22, y + 15)], tone, 1.5)
        for x, y, tone in ((8, -50, 1.35), (8, -42, 0.6), (2, -38, 1.35), (-8, -38, 0.6), (-2, -52, 0.6))
    ]
    pen.form(wing, shade(coat, 0.92), depth=3, marks=feathers)
    beak = [(36, -82), (46, -82), (56, -72), (55, -66), (46, -70), (38, -70)]
    pen.form(beak, (64, 60, 66) if max(coat) > 90 else (186, 150, 70), depth=1.4)
    pen.line([(38, -75), (53, -70)], _INK, 1.2)
    _eye(pen, 29, -79, 3.2)


def _snake(pen: Pen, coat: RGB) -> None:
    pale, dark = _pale(coat), shade(coat, 0.55)
    pen.form([(-30, -10), (-44, -8), (-56, -2), (-46, 1), (-30, 0)], coat, depth=1)
    for y, across, down in ((-9, 42, 10), (-21, 34, 10), (-32, 25, 9)):
        scales = [
            Mark([(x - 4, y - down * 0.5), (x, y + down * 0.1), (x + 4, y - down * 0.5)], dark)
            for x in range(-int(across) + 6, int(across), 12)
        ]
        belly = Mark(
            [(-across, y + down), (-across * 0.6, y + down * 0.6), (across * 0.6, y + down * 0.6), (across, y + down)],
            pale,
        )
        pen.form(ring(0, y, across, down), coat, depth=3, marks=[belly, *scales])
    neck = [
        (-14, -32),
        (-18, -48),
        (-12, -60),
        (-16, -76),
        (-4, -86),
        (14, -86),
        (14, -72),
        (10, -60),
        (12, -46),
        (12, -32),
    ]
    bars = [Mark([(-2, y), (5, y + 2), (14, y)], 0.68, 1.2) for y in (-66, -60, -54, -48, -42, -36)]
    front = Mark([(0, -76), (16, -74), (12, -60), (16, -46), (16, -28), (0, -30), (-3, -46), (1, -60)], pale)
    patches = [Mark(ring(-12, y, 3.6, 4.4), dark) for y in (-44, -58, -72)]
    pen.form(neck, coat, depth=3, marks=[front, *bars, *patches])
    pen.limb([(36, -74), (46, -72), (52, -76)], 1.2, _FLESH)
    pen.limb([(46, -72), (52, -68)], 1.2, _FLESH)
    head = [(-12, -80), (-4, -91), (12, -94), (28, -88), (39, -80), (40, -74), (32, -70), (14, -70), (-4, -70)]
    jaw = Mark([(6, -72), (24, -77), (44, -77), (36, -66), (10, -66)], pale)
    pen.form(head, coat, depth=2.4, marks=[jaw])
    pen.line([(40, -76), (28, -77), (16, -74)], _INK, 1.3)
    pen.form([(32, -76), (34.5, -76), (33, -69)], _WHITE, depth=0, outline=0.6, is_sharp=True)
    pen.oval(36, -81, 1.2, 1.2, _INK, 0)
    _eye(pen, 20, -84, 4)


def _spider(pen: Pen, coat: RGB) -> None:
    far = shade(coat, 0.72)
    for side in (-1, 1):
        for knee_x, knee_y, foot_x, foot_y, start in ((26, -72, 36, -36, -44), (44, -64, 54, -18, -40)):
            pen.limb([(side * 10, start), (side * knee_x, knee_y), (side * foot_x, foot_y)], 4, far)
    abdomen = ring(0, -55, 30, 28)
    stripes = [Mark(ring(0, y, across, 3.6), mix(coat, _AMBER, 0.6)) for y, across in ((-76, 9), (-66, 14), (-55, 11))]
    hairs = _tufts([(-20, -66), (20, -66), (-24, -54), (24, -54), (-16, -44), (16, -44)], lean=0)
    pen.form(abdomen, coat, depth=4, marks=[*stripes, *hairs])
    for side in (-1, 1):
        for knee_x, knee_y, foot_x, foot_y, start in ((48, -48, 50, 0, -32), (32, -40, 27, 2, -27)):
            pen.limb([(side * 10, start), (side * knee_x, knee_y), (side * foot_x, foot_y)], 4.6, coat)
    pen.form(ring(0, -30, 18, 16), coat, depth=2.6, marks=_tufts([(-12, -26), (12, -26), (0, -20)], lean=0))
    for side in (-1, 1):
        fang = [(side * 2, -19), (side * 9, -20), (side * 8, -10), (side * 4, -4)]
        pen.form(fang, shade(coat, 0.6), depth=0.8)
        pen.form([(side * 3, -8), (side * 7, -9), (side * 3.5, 0)], _BONE, depth=0, outline=0.7, is_sharp=True)
        for x, y, size in ((5, -31, 3.6), (12, -34, 2.6), (4, -40, 2.2), (11, -41, 1.6)):
            pen.oval(side * x, y, size, size, (255, 70, 60))
            pen.oval(side * x - size * 0.3, y - size * 0.3, size * 0.3, size * 0.3, _WHITE, 0)


def _dragon(pen: Pen, coat: RGB) -> None:
    far, pale, skin = shade(coat, 0.62), _pale(coat), mix(shade(coat, 0.8), (120, 50, 60), 0.3)
    tail = [(-20, -34), (-38, -30), (-50, -16), (-44, -4), (-30, -2), (-36, -10), (-32, -18), (-14, -20)]
    pen.form(tail, coat, depth=2)
    pen.form([(-32, 1), (-22, -8), (-16, 0), (-24, 5)], far, depth=0, is_sharp=True)
    far_wing = [(8, -48), (20, -74), (30, -92), (34, -74), (44, -66), (34, -58), (22, -44)]
    pen.form(far_wing, shade(skin, 0.72), depth=0, is_sharp=True)
    for leg in (
        [(16, -30), (26, -30), (27, -12), (34, -1), (21, -1), (19, -12)],
        [(-14, -26), (0, -26), (-2, -10), (6, -1), (-8, -1)],
    ):
        pen.form(leg, far, depth=1)
    for x, y in ((-24, -40), (-12, -46), (0, -49)):
        pen.form([(x - 5, y + 5), (x - 2, y - 8), (x + 5, y + 4)], _BONE, depth=0, is_sharp=True)
    body = [
        (-30, -30),
        (-18, -42),
        (0, -46),
        (14, -48),
        (24, -58),
        (26, -70),
        (38, -72),
        (40, -56),
        (34, -38),
        (22, -24),
    ]
    belly = Mark(
        [(46, -70), (34, -70), (33, -56), (26, -38), (10, -24), (-12, -22), (-8, -10), (30, -14), (46, -40)], pale
    )
    ribs = [
        Mark([(x, y), (x + 10, y + 6)], 0.66, 1.2)
        for x, y in ((31, -62), (30, -54), (27, -46), (22, -38), (14, -32), (4, -28))
    ]
    scales = [
        Mark([(x - 3, y), (x, y + 3), (x + 3, y)], 0.66, 1.1)
        for x, y in ((-18, -34), (-8, -38), (2, -40), (-8, -30), (2, -33), (12, -40), (20, -46))
    ]
    pen.form([*body, (6, -19), (-16, -20)], coat, depth=3, marks=[belly, *ribs, *scales])
    pen.form([(8, -34), (22, -34), (20, -14), (28, -4), (30, 1), (12, 1), (10, -14)], coat, depth=1.8)
    hind = [(-30, -32), (-10, -34), (-6, -22), (-16, -12), (-8, 1), (-26, 1), (-28, -12)]
    pen.form(hind, coat, depth=1.8)
    for claw in (16, 22, 28, -22, -16, -10):
        pen.form([(claw - 2, -2), (claw + 2, -2), (claw + 2.5, 3)], _BONE, depth=0, outline=0.6, is_sharp=True)
    wing = [
        (4, -44),
        (-8, -70),
        (-22, -94),
        (-34, -84),
        (-56, -62),
        (-42, -64),
        (-40, -50),
        (-28, -58),
        (-20, -44),
        (-10, -52),
    ]
    bones = [
        Mark([(-2, -56), (-22, -92), end], 0.55, 1.6, is_sharp=True) for end in ((-40, -52), (-20, -46), (-54, -63))
    ]
    pen.form(wing, skin, depth=3, is_sharp=True, marks=bones)
    pen.limb([(3, -44), (-9, -70), (-22, -93)], 3.4, coat)
    for horn in ([(24, -80), (12, -92), (28, -87)], [(29, -82), (22, -97), (34, -86)]):
        pen.form(horn, _BONE, depth=0.6, is_sharp=True)
    head = [
        (22, -74),
        (26, -84),
        (36, -87),
        (44, -80),
        (56, -77),
        (57, -71),
        (50, -68),
        (42, -66),
        (34, -62),
        (26, -66),
    ]
    pen.form(head, coat, depth=2, marks=[Mark([(40, -70), (58, -74), (54, -64), (36, -58)], pale)])
    pen.line([(56, -72), (48, -73), (40, -71)], _INK, 1.3)
    for tooth in (46, 51):
        pen.form([(tooth, -73), (tooth + 3, -73), (tooth + 1.5, -69)], _WHITE, depth=0, outline=0.5, is_sharp=True)
    pen.oval(54, -76, 1.2, 1, _INK, 0)
    _eye(pen, 38, -79, 3)


def _cat(pen: Pen, coat: RGB) -> None:
    pale = _pale(coat)
    pen.limb([(-16, -6), (-36, -4), (-46, -14), (-42, -32), (-48, -42)], 8, coat)
    for band in ([(-45.6, -16), (-37, -18)], [(-46, -27), (-38, -27)]):
        pen.line(band, shade(coat, 0.6), 2.4, is_sharp=True)
    body = [(0, -50), (16, -44), (26, -26), (29, -8), (22, 1), (0, 2), (-22, 1), (-29, -8), (-26, -26), (-16, -44)]
    chest = Mark([(0, -50), (11, -40), (8, -24), (0, -16), (-8, -24), (-11, -40)], pale)
    stripes = [
        Mark([(side * 30, y), (side * 17, y + 2)], 0.62, 2, is_sharp=True) for side in (-1, 1) for y in (-24, -16, -8)
    ]
    pen.form(body, coat, depth=3.4, marks=[chest, *stripes])
    for side in (-1, 1):
        leg = [(side * 2, -26), (side * 12, -26), (side * 13, -6), (side * 14, 0), (side * 8, 3), (side * 1.5, 1)]
        pen.form(leg, coat, depth=1.2)
        pen.oval(side * 7.5, 0, 6.5, 3.4, pale)
        pen.oval(side * 22, 0.5, 7.5, 3.6, pale)
    for side in (-1, 1):
        pen.form([(side * 25, -66), (side * 27, -93), (side * 6, -78)], coat, depth=1.4, is_sharp=True)
        pen.form(
            [(side * 22, -72), (side * 24, -86), (side * 12, -77)], (236, 150, 150), depth=0, outline=0, is_sharp=True
        )
    brow = [Mark([(x, -84), (x * 0.8, -73)], 0.62, 2, is_sharp=True) for x in (-7, 0, 7)]
    pen.form(ring(0, -62, 28, 20), coat, depth=3, marks=brow)
    pen.form(ring(0, -53, 12, 8), pale, depth=0, outline=0.6)
    for side in (-1, 1):
        pen.oval(side * 13, -64, 6, 6, (150, 226, 80))
        pen.oval(side * 13, -64, 1.9, 5, _INK, 0)
        pen.oval(side * 13 - 2.4, -66.4, 1.4, 1.4, _WHITE, 0)
        pen.line([(side * 1, -52), (side * 4, -49), (side * 8, -51)], _INK, 1.1)
        for rise in (-3, 3):
            pen.line([(side * 14, -54), (side * 36, -55 + rise)], shade(coat, 0.35), 0.8)
    pen.form([(-3.6, -58), (3.6, -58), (0, -53)], _FLESH, depth=0, outline=0.7)


DRAW: Mapping[str, DrawCreature] = {
    "wolf": _wolf,
    "bear": _bear,
    "horse": _horse,
    "raven": _raven,
    "snake": _snake,
    "spider": _spider,
    "dragon": _dragon,
    "cat": _cat,
}
