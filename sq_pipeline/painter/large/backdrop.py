"""The open air: sky, light, far hills, ground. Not here: textures (`ground_textures`), what stands in it."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sq_pipeline.painter.large.canvas import RGB, SUPERSAMPLING, Canvas, Point, mix, shade
from sq_pipeline.painter.large.ground_textures import TEXTURES, draw_glitter


@dataclass(frozen=True)
class _Hour:
    """How one time of day looks: the sky's colours, the light on what stands there, and the light on the ground."""

    top: RGB
    low: RGB
    light: RGB
    strength: float
    lift: float
    rim: RGB
    ground_light: RGB
    ground_strength: float
    sun: RGB
    pane: RGB


_HOURS: Mapping[str, _Hour] = {
    "dawn": _Hour(
        top=(146, 168, 228),
        low=(255, 214, 206),
        light=(255, 228, 226),
        strength=0.94,
        lift=0.05,
        rim=(255, 240, 220),
        ground_light=(255, 222, 220),
        ground_strength=0.96,
        sun=(255, 248, 214),
        pane=(255, 226, 150),
    ),
    "noon": _Hour(
        top=(44, 128, 232),
        low=(186, 228, 252),
        light=(255, 255, 250),
        strength=1,
        lift=0,
        rim=(255, 255, 236),
        ground_light=(255, 255, 250),
        ground_strength=1,
        sun=(255, 246, 176),
        pane=(140, 196, 228),
    ),
    "dusk": _Hour(
        top=(96, 40, 112),
        low=(255, 136, 52),
        light=(255, 202, 168),
        strength=0.92,
        lift=0.05,
        rim=(255, 214, 120),
        ground_light=(255, 186, 150),
        ground_strength=0.82,
        sun=(255, 216, 92),
        pane=(255, 220, 110),
    ),
    "night": _Hour(
        top=(8, 12, 48),
        low=(48, 70, 144),
        light=(216, 228, 255),
        strength=1.15,
        lift=0.15,
        rim=(232, 242, 255),
        ground_light=(128, 156, 236),
        ground_strength=0.74,
        sun=(250, 248, 226),
        pane=(255, 224, 112),
    ),
}
# ground: its colour far away, its colour near, the far hills' colour
_GROUNDS: Mapping[str, tuple[RGB, RGB, RGB]] = {
    "desert": ((240, 202, 126), (222, 164, 84), (214, 150, 96)),
    "meadow": ((136, 196, 74), (72, 146, 48), (70, 134, 88)),
    "snow": ((250, 252, 255), (222, 234, 248), (150, 172, 208)),
    "lake": ((88, 168, 206), (24, 92, 158), (66, 120, 104)),
    "rock": ((166, 154, 148), (122, 112, 110), (126, 108, 106)),
}

# the same under a light that would hide what ground it is
_OWN: Mapping[tuple[str, str], tuple[RGB, RGB, RGB]] = {
    ("dusk", "meadow"): ((136, 152, 54), (64, 104, 42), (92, 92, 52)),
    ("dusk", "snow"): ((248, 206, 190), (216, 166, 172), (158, 108, 130)),
    ("night", "desert"): ((136, 112, 96), (98, 78, 74), (84, 68, 88)),
    ("night", "snow"): ((166, 186, 236), (122, 146, 208), (74, 96, 164)),
    ("night", "lake"): ((36, 76, 146), (14, 40, 98), (28, 52, 84)),
}


def open_air(
    size_px: tuple[int, int],
    time: str,
    ground: str,
    rng: random.Random,
    mood: tuple[float, float, float],
    horizon: float,
) -> Canvas:
    """A canvas with sky, sun or moon, far hills and ground, `horizon` (0–1) of the height from the top.

    Of `mood`, each 0–1, the second is where the light stands in the sky, the third the shape of the far hills.
    """
    hour = _HOURS[time]
    width, height = size_px[0] * SUPERSAMPLING, size_px[1] * SUPERSAMPLING
    level = round(horizon * height)
    far, near, hills = _OWN.get((time, ground)) or [_under(hour, colour) for colour in _GROUNDS[ground]]
    image = _gradients(width, height, level, (hour.top, hour.low), (far, near))
    light_x = (0.1 + 0.8 * mood[1]) * width
    canvas = Canvas(
        image,
        ImageDraw.Draw(image),
        light=hour.light,
        strength=hour.strength,
        is_lit_from_left=light_x < width / 2,
        lift=hour.lift,
        rim=hour.rim,
        pane=hour.pane,
    )
    strip = image.crop((0, level, width, height))
    _SKIES[time](canvas, light_x, level, rng)
    _far_hills(canvas, ground, level, mood[2], mix(hills, hour.low, 0.5), mix(hills, hour.low, 0.22))
    image.paste(strip, (0, level))
    TEXTURES[ground](canvas, level, rng, far, near)
    if ground == "lake":
        draw_glitter(canvas, light_x, level, mix(far, hour.sun, 0.7))
    return canvas


def ground_shadow(canvas: Canvas, x: float, base: float, half_width: float) -> None:
    """The shadow of something that stands at `(x, base)`, `half_width` to each side, thrown away from the light."""
    column, row = (int(min(max(at, 0), end - 1)) for at, end in zip((x, base), canvas.image.size, strict=True))
    pixel = canvas.image.getpixel((column, row))
    assert isinstance(pixel, tuple)
    colour = shade((int(pixel[0]), int(pixel[1]), int(pixel[2])), 0.62)
    thrown = half_width * (0.3 if canvas.is_lit_from_left else -0.3)
    flat = half_width * 0.09 + canvas.unit * 1.2
    canvas.oval(x + thrown, base, half_width * 1.1, flat, colour, outline=0)


def _under(hour: _Hour, colour: RGB) -> RGB:
    red, green, blue = (
        round(part * light / 255 * hour.ground_strength) for part, light in zip(colour, hour.ground_light, strict=True)
    )
    return red, green, blue


def _gradients(width: int, height: int, level: int, sky: tuple[RGB, RGB], ground: tuple[RGB, RGB]) -> Image.Image:
    parts = []
    for rows, (first, last), bend in ((level, sky, 1.2), (height - level, ground, 0.8)):
        way = np.linspace(0, 1, max(rows, 1))[:, None] ** bend
        parts.append(np.asarray(first)[None] * (1 - way) + np.asarray(last)[None] * way)
    column = np.concatenate(parts)[:height].round().astype(np.uint8)
    return Image.fromarray(column[:, None]).resize((width, height), Image.Resampling.NEAREST)


def _glow(canvas: Canvas, x: float, y: float, radius: float, colour: RGB) -> None:
    pixel = canvas.image.getpixel((int(x), int(min(max(y, 0), canvas.image.height - 1))))
    assert isinstance(pixel, tuple)
    sky = (int(pixel[0]), int(pixel[1]), int(pixel[2]))
    for reach, share in ((2.1, 0.16), (1.5, 0.4)):
        canvas.oval(x, y, radius * reach, radius * reach, mix(sky, colour, share), outline=0)
    canvas.oval(x, y, radius, radius, colour, outline=0)


def _dawn(canvas: Canvas, x: float, level: int, rng: random.Random) -> None:
    u = canvas.unit
    _glow(canvas, x, level - 10 * u, 8 * u, _HOURS["dawn"].sun)
    for share in (0.3, 0.52):
        y = (share + rng.uniform(-0.04, 0.04)) * level
        _streak(canvas, rng.uniform(0.05, 0.95) * canvas.image.width, y, 26 * u, (255, 236, 240))


def _noon(canvas: Canvas, x: float, level: int, rng: random.Random) -> None:
    u = canvas.unit
    _glow(canvas, x, 11 * u, 6.5 * u, _HOURS["noon"].sun)
    start = rng.random()
    for cloud, share in enumerate((0.3, 0.46, 0.24)):
        _cloud(canvas, (start + cloud / 3) % 1 * canvas.image.width, share * level, u * (1.15 - 0.15 * cloud))


def _dusk(canvas: Canvas, x: float, level: int, rng: random.Random) -> None:
    u = canvas.unit
    _glow(canvas, x, level - 8 * u, 10 * u, _HOURS["dusk"].sun)
    for share, colour in ((0.22, (150, 60, 110)), (0.42, (206, 84, 92)), (0.6, (236, 110, 80))):
        y = (share + rng.uniform(-0.03, 0.03)) * level
        _streak(canvas, rng.uniform(0.05, 0.95) * canvas.image.width, y, 30 * u, colour)


def _night(canvas: Canvas, x: float, level: int, rng: random.Random) -> None:
    u, width = canvas.unit, canvas.image.width
    columns, rows = max(4, round(width / (20 * u))), max(3, round(level / (17 * u)))
    for row in range(rows):
        for column in range(columns):
            star_x = (column + 0.5 * (row % 2) + rng.uniform(0.1, 0.5)) / columns * width
            star_y = (row + rng.uniform(0.2, 0.8)) / rows * level * 0.86
            size = (0.5, 0.75)[(row + column) % 2] * u
            canvas.oval(star_x, star_y, size, size, (214, 226, 255), outline=0)
    y = 15 * u
    _glow(canvas, x, y, 7.5 * u, _HOURS["night"].sun)
    for across, down, size in ((-2.4, -1.6, 1.7), (2.2, 1.4, 2), (-1.2, 3.2, 1.2)):
        canvas.oval(x + across * u, y + down * u, size * u, size * u, (222, 222, 206), outline=0)


def _streak(canvas: Canvas, x: float, y: float, half: float, colour: RGB) -> None:
    flat = canvas.unit * 1.3
    canvas.draw.rounded_rectangle((x - half, y - flat, x + half, y + flat), radius=flat, fill=colour)
    canvas.draw.rounded_rectangle(
        (x - half * 0.2, y + flat * 0.8, x + half * 1.25, y + flat * 2.6), radius=flat * 0.9, fill=colour
    )


def _cloud(canvas: Canvas, x: float, y: float, unit: float) -> None:
    puffs = ((-9, 0, 5), (-2, -3.4, 6.6), (6.5, -0.6, 5.4))
    for drop, colour in ((1.6, (212, 230, 246)), (0, (252, 254, 255))):
        for across, up, radius in puffs:
            canvas.oval(x + across * unit, y + (up + drop) * unit, radius * unit, radius * unit, colour, outline=0)
        flat = (x - 13 * unit, y + (drop - 0.4) * unit, x + 11.4 * unit, y + (4.4 + drop) * unit)
        canvas.draw.rounded_rectangle(flat, radius=2.4 * unit, fill=colour)


_SKIES: Mapping[str, Callable[[Canvas, float, int, random.Random], None]] = {
    "dawn": _dawn,
    "noon": _noon,
    "dusk": _dusk,
    "night": _night,
}


def _far_hills(canvas: Canvas, ground: str, level: int, form: float, far: RGB, near: RGB) -> None:
    width, u = canvas.image.width, canvas.unit
    for layer, colour, lift in ((0, far, 9 + 4 * form), (1, near, 5 + 2.5 * form)):
        points: list[Point] = [(0, level + 2)]
        phase = form + 0.37 * layer
        if ground in ("snow", "rock"):
            step = (0.22 if ground == "snow" else 0.3) * (1 - 0.25 * layer)
            for peak in range(-1, math.ceil(1 / step) + 1):
                at = (peak + phase) * step * width
                high = lift * u * (1.15 if (peak + layer) % 2 else 0.75)
                if ground == "snow":
                    points += [(at, level - high), (at + step * width * 0.5, level - high * 0.3)]
                else:
                    wide = step * width
                    points += [(at, level - high * 0.35), (at + wide * 0.12, level - high)]
                    points += [(at + wide * 0.55, level - high), (at + wide * 0.68, level - high * 0.35)]
        else:
            waves = 1.5 + 0.6 * layer
            height = lift * u * (0.5 if ground == "lake" else 0.9)
            for part in range(41):
                wave = math.sin((phase + waves * part / 40) * math.tau)
                points.append((width * part / 40, level - height * (0.55 + 0.45 * wave)))
        canvas.draw.polygon([*points, (width, level + 2)], fill=colour)
