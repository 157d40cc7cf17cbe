"""What a ground looks like near by: ripples, tufts, drifts, waves, stones. Not here: its colours (`backdrop`)."""

import math
import random
from collections.abc import Callable, Iterator, Mapping

from sq_pipeline.painter.large.canvas import RGB, Canvas, Point, mix, shade


def _rows(canvas: Canvas, level: int, count: int) -> Iterator[tuple[float, float, int]]:
    """From the horizon to the front: how near (0–1), the height in the canvas, the row's number."""
    deep = canvas.image.height - level
    for row in range(count):
        near = ((row + 0.6) / count) ** 1.5
        yield near, level + near * deep, row


def _desert(canvas: Canvas, level: int, rng: random.Random, far: RGB, near: RGB) -> None:
    width, u, shift = canvas.image.width, canvas.unit, rng.random()
    for close, y, row in _rows(canvas, level, 6):
        tall, waves = (1 + 3 * close) * u, 1.4 + 1.2 * (1 - close)
        crest = [
            (width * part / 32, y - tall * math.sin((shift + row * 0.37 + waves * part / 32) * math.tau))
            for part in range(33)
        ]
        under = [(at, edge + (1.4 + 2.6 * close) * u) for at, edge in reversed(crest)]
        canvas.draw.polygon([*crest, *under], fill=shade(mix(far, near, close), 0.88))
        canvas.line(crest, shade(mix(far, near, close), 1.12), 0.6 + 0.8 * close)


def _meadow(canvas: Canvas, level: int, rng: random.Random, far: RGB, near: RGB) -> None:
    width, u, shift = canvas.image.width, canvas.unit, rng.random()
    petals = [mix(near, colour, 0.8) for colour in ((255, 240, 120), (255, 255, 255), (244, 110, 110))]
    for close, y, row in _rows(canvas, level, 6):
        tone = mix(far, near, close)
        blade, gap = (2 + 4.5 * close) * u, (9 + 13 * close) * u
        at = -gap * ((shift + 0.43 * row) % 1)
        while at < width + gap:
            wide = blade * 0.45
            canvas.draw.polygon(
                [(at - wide * 1.6, y - blade * 0.7), (at - wide * 0.5, y), (at + wide * 0.5, y)], fill=shade(tone, 0.72)
            )
            canvas.draw.polygon([(at, y - blade), (at - wide * 0.6, y), (at + wide * 0.6, y)], fill=shade(tone, 0.8))
            canvas.draw.polygon(
                [(at + wide * 1.6, y - blade * 0.7), (at - wide * 0.5, y), (at + wide * 0.5, y)], fill=shade(tone, 1.18)
            )
            if row % 2:
                size = (0.5 + 0.7 * close) * u
                canvas.oval(at + gap / 2, y - blade * 0.4, size, size, petals[row // 2], outline=0)
            at += gap


def _snow(canvas: Canvas, level: int, rng: random.Random, far: RGB, near: RGB) -> None:
    width, u, shift = canvas.image.width, canvas.unit, rng.random()
    blue = mix(shade(near, 0.9), shade((150, 184, 236), max(near) / 255), 0.5)
    for close, y, row in _rows(canvas, level, 4):
        half, flat = (16 + 26 * close) * u, (1.6 + 3.4 * close) * u
        gap = half * 2.6
        at = -gap * ((shift + 0.39 * row) % 1)
        while at < width + gap:
            canvas.oval(at, y, half, flat, mix(blue, near, 0.35), outline=0)
            canvas.oval(at - half * 0.06, y - flat * 0.45, half * 1.02, flat * 0.9, mix(near, far, 0.8), outline=0)
            at += gap


def _lake(canvas: Canvas, level: int, rng: random.Random, far: RGB, near: RGB) -> None:
    width, u, shift = canvas.image.width, canvas.unit, rng.random()
    for close, y, row in _rows(canvas, level, 8):
        tone = mix(far, near, close)
        half, flat = (4 + 8 * close) * u, (0.35 + 0.55 * close) * u
        gap = half * 3.2
        at = -gap * ((shift + 0.5 * (row % 2)) % 1)
        while at < width + gap:
            for across, down, colour in ((0, 0, shade(tone, 1.36)), (half * 0.7, flat * 2.4, shade(tone, 0.8))):
                left, top = at + across - half, y + down - flat
                canvas.draw.rounded_rectangle((left, top, left + 2 * half, top + 2 * flat), radius=flat, fill=colour)
            at += gap


def draw_glitter(canvas: Canvas, x: float, level: int, colour: RGB) -> None:
    """The way of light that sun or moon at `x` lays on water, from the horizon at `level` to the front."""
    u = canvas.unit
    for close, y, row in _rows(canvas, level, 9):
        half, flat = (3 + 4 * close) * u * (1.2 if row % 2 else 0.75), (0.5 + 0.6 * close) * u
        left = x - half + (row % 3 - 1) * u
        canvas.draw.rounded_rectangle((left, y - flat, left + 2 * half, y + flat), radius=flat, fill=colour)


def _rock(canvas: Canvas, level: int, rng: random.Random, far: RGB, near: RGB) -> None:
    width, u, shift = canvas.image.width, canvas.unit, rng.random()
    side = -1 if canvas.is_lit_from_left else 1
    for close, y, row in _rows(canvas, level, 5):
        tone = mix(far, near, close)
        gap = (15 + 24 * close) * u
        at = -gap * ((shift + 0.5 * (row % 2)) % 1)
        while at < width + gap:
            crack = [(at + gap * across, y + gap * down) for across, down in _CRACK]
            canvas.line(crack, shade(tone, 0.72), 0.5 + 0.6 * close)
            _boulder(canvas, at, y, gap * (0.27, 0.2)[row % 2], side, tone)
            at += gap


_CRACK = ((0.28, 0.0), (0.44, 0.06), (0.5, 0.02), (0.72, 0.07))


def _boulder(canvas: Canvas, x: float, y: float, half: float, side: int, tone: RGB) -> None:
    def at(across: float, up: float) -> Point:
        return x - side * across * half, y - up * half

    whole = [at(-1, 0), at(-0.75, 0.6), at(-0.2, 0.95), at(0.5, 0.75), at(1, 0)]
    canvas.draw.polygon(whole, fill=shade(tone, 0.62))
    canvas.draw.polygon([at(-1, 0), at(-0.75, 0.6), at(-0.1, 0.5), at(0.1, 0)], fill=shade(tone, 1.04))
    canvas.draw.polygon([at(-0.75, 0.6), at(-0.2, 0.95), at(0.5, 0.75), at(-0.1, 0.5)], fill=shade(tone, 1.32))


# ground: what draws its texture, from the horizon at a height on, over its far and its near colour
TEXTURES: Mapping[str, Callable[[Canvas, int, random.Random, RGB, RGB], None]] = {
    "desert": _desert,
    "meadow": _meadow,
    "snow": _snow,
    "lake": _lake,
    "rock": _rock,
}
