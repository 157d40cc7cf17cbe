"""The twelve subjects. Each stands with its foot at `(x, base)`, about `size` high, and takes the scene's light."""

import math
import random
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw

from sq_pipeline.painter.canvas import Canvas

DrawSubject = Callable[[Canvas, float, float, float, random.Random], None]


def _mesa(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top = size * rng.uniform(0.62, 0.72), base - size * 0.66
    c.polygon(
        [
            (x - half, base),
            (x - half * 0.72, top),
            (x + half * 0.72, top),
            (x + half, base),
        ],
        c.lit((190, 88, 52)),
    )
    c.polygon(
        [
            (x + half * 0.1, top),
            (x + half * 0.72, top),
            (x + half, base),
            (x + half * 0.3, base),
        ],
        c.lit((140, 58, 38)),
    )
    c.rectangle(x - half * 0.72, top, x + half * 0.72, top + size * 0.1, c.lit((226, 130, 84)))


def _mountain(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top = size * rng.uniform(0.72, 0.82), base - size * 1.06
    c.polygon([(x - half, base), (x, top), (x + half, base)], c.lit((112, 122, 148)))
    c.polygon([(x, top), (x + half, base), (x + half * 0.15, base)], c.lit((78, 86, 112)))
    snow = size * 0.36
    width = half * snow / (size * 1.06)
    c.polygon(
        [
            (x, top),
            (x - width, top + snow),
            (x - width * 0.3, top + snow * 0.8),
            (x + width * 0.3, top + snow),
            (x + width, top + snow),
        ],
        c.lit((252, 252, 255)),
    )


def _windmill(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    top = base - size * 0.72
    c.polygon(
        [
            (x - size * 0.17, base),
            (x - size * 0.09, top),
            (x + size * 0.09, top),
            (x + size * 0.17, base),
        ],
        c.lit((236, 228, 210)),
    )
    c.polygon(
        [(x - size * 0.12, top), (x, top - size * 0.14), (x + size * 0.12, top)],
        c.lit((150, 62, 48)),
    )
    turn = rng.uniform(0.5, 1.0)
    for blade in range(4):
        angle = turn + blade * math.pi / 2
        dx, dy = math.cos(angle), math.sin(angle)
        reach, wide = size * 0.5, size * 0.07
        c.polygon(
            [
                (x, top),
                (x + dx * reach - dy * wide, top + dy * reach + dx * wide),
                (x + dx * reach + dy * wide, top + dy * reach - dx * wide),
            ],
            c.lit((92, 66, 48)),
        )


def _tower(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top = size * rng.uniform(0.15, 0.18), base - size * 0.92
    c.rectangle(x - half, top, x + half, base, c.lit((168, 160, 152)))
    c.rectangle(x + half * 0.3, top, x + half, base, c.lit((126, 118, 114)))
    c.rectangle(
        x - half * 1.4,
        top - size * 0.08,
        x + half * 1.4,
        top + size * 0.06,
        c.lit((150, 142, 136)),
    )
    for tooth in (-1.2, -0.2, 0.8):
        c.rectangle(
            x + half * tooth,
            top - size * 0.17,
            x + half * (tooth + 0.5),
            top - size * 0.06,
            c.lit((150, 142, 136)),
        )
    for level in (0.25, 0.55):
        c.rectangle(
            x - half * 0.3,
            top + size * level,
            x + half * 0.2,
            top + size * (level + 0.1),
            c.lit((44, 36, 34)),
        )


def _pine(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    c.rectangle(x - size * 0.05, base - size * 0.2, x + size * 0.05, base, c.lit((96, 62, 38)))
    wide = rng.uniform(0.3, 0.36)
    for level, share in ((0.14, 1.0), (0.4, 0.76), (0.64, 0.52)):
        low = base - size * level
        c.polygon(
            [
                (x - size * wide * share, low),
                (x, low - size * 0.44),
                (x + size * wide * share, low),
            ],
            c.lit((24, 96, 58)),
        )
        c.polygon(
            [(x, low), (x, low - size * 0.44), (x + size * wide * share, low)],
            c.lit((16, 70, 44)),
        )


def _cactus(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    green, half, top = c.lit((70, 150, 60)), size * 0.085, base - size * 0.92
    c.draw.rounded_rectangle((x - half, top, x + half, base), radius=half, fill=green)
    for side, height in ((-1, rng.uniform(0.34, 0.42)), (1, rng.uniform(0.46, 0.56))):
        arm, thin = x + side * size * 0.27, half * 0.8
        elbow = base - size * height
        left, right = sorted((x, arm))
        c.rectangle(left, elbow - thin, right, elbow + thin, green)
        c.draw.rounded_rectangle(
            (arm - thin, elbow - size * 0.3, arm + thin, elbow + thin),
            radius=thin,
            fill=green,
        )
    c.rectangle(x + half * 0.2, top + half, x + half * 0.7, base, c.lit((46, 110, 42)))


def _cabin(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, eaves = size * rng.uniform(0.4, 0.46), base - size * 0.36
    c.rectangle(x - half, eaves, x + half, base, c.lit((142, 92, 54)))
    c.polygon(
        [
            (x - half * 1.2, eaves),
            (x - half * 0.6, eaves - size * 0.32),
            (x + half * 0.6, eaves - size * 0.32),
            (x + half * 1.2, eaves),
        ],
        c.lit((92, 44, 34)),
    )
    c.rectangle(
        x + half * 0.4,
        eaves - size * 0.48,
        x + half * 0.62,
        eaves - size * 0.2,
        c.lit((120, 110, 106)),
    )
    c.rectangle(x - half * 0.15, base - size * 0.26, x + half * 0.2, base, c.lit((58, 34, 24)))
    for side in (-0.75, 0.42):
        c.rectangle(
            x + half * side,
            eaves + size * 0.1,
            x + half * (side + 0.32),
            eaves + size * 0.23,
            (255, 220, 120),
        )


def _tent(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, top = size * rng.uniform(0.4, 0.46), base - size * 0.78
    for lean in (-0.1, 0.1):
        c.draw.line(
            (x + size * lean, top - size * 0.16, x - size * lean, top + size * 0.1),
            fill=c.lit((80, 54, 34)),
            width=5,
        )
    c.polygon([(x - half, base), (x, top), (x + half, base)], c.lit((240, 222, 182)))
    c.polygon([(x, top), (x + half, base), (x + half * 0.35, base)], c.lit((196, 168, 124)))
    c.polygon(
        [(x - half * 0.24, base), (x, base - size * 0.42), (x + half * 0.24, base)],
        c.lit((62, 40, 28)),
    )
    c.polygon(
        [
            (x - half * 0.66, base - size * 0.27),
            (x - half * 0.5, base - size * 0.39),
            (x + half * 0.5, base - size * 0.39),
            (x + half * 0.66, base - size * 0.27),
        ],
        c.lit((186, 52, 44)),
    )


def _ship(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, deck = size * rng.uniform(0.5, 0.56), base - size * 0.2
    c.polygon(
        [
            (x - half, deck),
            (x - half * 0.66, base),
            (x + half * 0.7, base),
            (x + half * 1.08, deck),
        ],
        c.lit((104, 58, 36)),
    )
    c.rectangle(x - half, deck - size * 0.04, x + half, deck + size * 0.02, c.lit((62, 34, 24)))
    c.rectangle(x - size * 0.02, base - size * 1.0, x + size * 0.03, deck, c.lit((80, 54, 36)))
    c.polygon(
        [
            (x + size * 0.05, base - size * 0.96),
            (x + half * 0.95, deck - size * 0.1),
            (x + size * 0.05, deck - size * 0.1),
        ],
        c.lit((250, 246, 234)),
    )
    c.polygon(
        [
            (x - size * 0.05, base - size * 0.86),
            (x - half * 0.8, deck - size * 0.1),
            (x - size * 0.05, deck - size * 0.1),
        ],
        c.lit((222, 214, 198)),
    )


def _church(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, eaves = size * rng.uniform(0.34, 0.38), base - size * 0.36
    white, roof = c.lit((246, 244, 240)), c.lit((86, 78, 96))
    c.rectangle(x - half * 0.3, eaves, x + half * 1.3, base, white)
    c.polygon(
        [
            (x - half * 0.3, eaves),
            (x + half * 0.1, eaves - size * 0.2),
            (x + half * 1.1, eaves - size * 0.2),
            (x + half * 1.4, eaves),
        ],
        roof,
    )
    left, right = x - half * 1.0, x - half * 0.2
    c.rectangle(left, base - size * 0.66, right, base, c.lit((228, 224, 218)))
    middle = (left + right) / 2
    c.polygon(
        [
            (left - size * 0.03, base - size * 0.66),
            (middle, base - size * 1.0),
            (right + size * 0.03, base - size * 0.66),
        ],
        roof,
    )
    c.rectangle(
        middle - 2,
        base - size * 1.14,
        middle + 2,
        base - size * 0.98,
        c.lit((50, 40, 40)),
    )
    c.rectangle(
        middle - size * 0.05,
        base - size * 1.1,
        middle + size * 0.05,
        base - size * 1.07,
        c.lit((50, 40, 40)),
    )
    c.rectangle(
        middle - size * 0.06,
        base - size * 0.2,
        middle + size * 0.06,
        base,
        c.lit((70, 46, 36)),
    )


def _arch(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    outer, inner = size * rng.uniform(0.58, 0.64), size * 0.34
    hole_top = base - size * 0.62
    behind = c.image.crop((int(x - inner), int(hole_top), int(x + inner), int(base)))
    box = (x - outer, base - size * 0.92, x + outer, base + size * 0.92)
    c.draw.pieslice(box, 180, 360, fill=c.lit((206, 118, 74)))
    c.draw.arc(box, 180, 280, fill=c.lit((236, 156, 108)), width=7)
    opening = Image.new("L", behind.size, 0)
    ImageDraw.Draw(opening).pieslice((0, 0, opening.width, opening.height * 2), 180, 360, fill=255)
    c.image.paste(behind, (int(x - inner), int(hole_top)), opening)


def _wagon(c: Canvas, x: float, base: float, size: float, rng: random.Random) -> None:
    half, bed = size * rng.uniform(0.44, 0.5), base - size * 0.24
    c.draw.pieslice(
        (x - half, bed - size * 0.5, x + half, bed + size * 0.5),
        180,
        360,
        fill=c.lit((250, 242, 222)),
    )
    for rib in (-0.5, 0.0, 0.5):
        c.draw.line(
            (x + half * rib, bed, x + half * rib * 0.8, bed - size * 0.46),
            fill=c.lit((200, 186, 156)),
            width=4,
        )
    c.rectangle(x - half * 1.05, bed, x + half * 1.05, bed + size * 0.1, c.lit((124, 62, 34)))
    for side in (-0.62, 0.62):
        wheel, radius = x + half * side, size * 0.16
        c.disc(wheel, base - radius * 0.8, radius, c.lit((66, 38, 24)))
        c.disc(wheel, base - radius * 0.8, radius * 0.62, c.lit((206, 166, 112)))
        c.disc(wheel, base - radius * 0.8, radius * 0.24, c.lit((66, 38, 24)))


DRAW: Mapping[str, DrawSubject] = {
    "mesa": _mesa,
    "mountain": _mountain,
    "windmill": _windmill,
    "tower": _tower,
    "pine": _pine,
    "cactus": _cactus,
    "cabin": _cabin,
    "tent": _tent,
    "ship": _ship,
    "church": _church,
    "arch": _arch,
    "wagon": _wagon,
}
