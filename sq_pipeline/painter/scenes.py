"""A scene and how it is painted: sky, light, ground, one subject. Not here: the subjects' shapes (`subjects`)."""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sq_pipeline.painter import subjects
from sq_pipeline.painter.canvas import RGB, Canvas, mix, shade
from sq_pipeline.painter.vocabulary import (
    GROUNDS,
    PLACES,
    SUBJECTS,
    TIMES,
    write_caption,
)

WIDTH_PX, HEIGHT_PX = 128, 96
_SUPERSAMPLING = 3

# time of day: sky at the top, sky at the horizon, colour of the light, its strength
_SKIES: dict[str, tuple[RGB, RGB, RGB, float]] = {
    "dawn": ((172, 168, 216), (255, 214, 200), (255, 226, 224), 0.86),
    "noon": ((64, 136, 228), (196, 228, 250), (255, 255, 250), 1.0),
    "dusk": ((112, 48, 110), (255, 132, 42), (255, 190, 150), 0.8),
    "night": ((10, 14, 48), (40, 54, 112), (150, 168, 226), 0.86),
}
_GROUND_COLOURS: dict[str, tuple[RGB, RGB]] = {
    "desert": ((226, 186, 112), (198, 146, 74)),
    "meadow": ((104, 170, 62), (62, 120, 40)),
    "snow": ((244, 248, 252), (206, 220, 236)),
    "lake": ((62, 136, 176), (28, 88, 138)),
    "rock": ((146, 138, 134), (96, 88, 86)),
}
_PLACE_X = {"left": 0.23, "centre": 0.5, "right": 0.77}


@dataclass(frozen=True)
class Scene:
    """Four words and a seed; the seed settles everything that the words leave open.

    `mood` settles three of these things in its place, each 0–1: the height of the horizon, where the light stands in
    the sky, the shape of the far hills.
    """

    time: str
    ground: str
    subject: str
    place: str
    seed: int
    mood: tuple[float, float, float] | None = None

    def caption(self) -> str:
        """A caption of this scene, settled by the seed as well."""
        return write_caption(
            self.time,
            self.ground,
            self.subject,
            self.place,
            random.Random(self.seed * 2 + 1),
        )


def random_scene(rng: random.Random) -> Scene:
    """A scene with each word drawn evenly."""
    return Scene(
        time=rng.choice(list(TIMES)),
        ground=rng.choice(list(GROUNDS)),
        subject=rng.choice(list(SUBJECTS)),
        place=rng.choice(list(PLACES)),
        seed=rng.getrandbits(40),
    )


def paint(scene: Scene) -> Image.Image:
    """The scene's picture, RGB, 128×96 pixels; equal for equal scenes."""
    rng = random.Random(scene.seed)
    width, height = WIDTH_PX * _SUPERSAMPLING, HEIGHT_PX * _SUPERSAMPLING
    top, low, light, strength = _SKIES[scene.time]
    drift = rng.uniform(-10, 10)
    top, low = shade(top, 1 + drift / 120), shade(low, 1 - drift / 200)
    by_seed = (rng.random(), rng.random(), rng.random())
    level, light_place, hills = scene.mood or by_seed
    horizon = (0.60 + 0.08 * level) * height

    image = Image.fromarray(_sky(width, height, horizon, top, low))
    canvas = Canvas(image, ImageDraw.Draw(image), light, strength)
    _lights_of_the_sky(canvas, scene.time, rng, (0.1 + 0.8 * light_place) * width, width, horizon)
    haze = mix(low, shade(light, strength), 0.5)
    _far_hills(
        canvas,
        rng,
        width,
        horizon,
        hills,
        mix(haze, canvas.lit(_GROUND_COLOURS[scene.ground][1]), 0.45),
    )
    _ground(canvas, scene.ground, rng, width, height, horizon)

    x = (_PLACE_X[scene.place] + rng.uniform(-0.035, 0.035)) * width
    size = rng.uniform(0.46, 0.54) * height
    base = horizon + rng.uniform(0.06, 0.12) * height
    _shadow(canvas, x, base, size)
    subjects.DRAW[scene.subject](canvas, x, base, size, rng)
    return image.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)


def _sky(width: int, height: int, horizon: float, top: RGB, low: RGB) -> np.ndarray:
    way = np.clip(np.arange(height) / horizon, 0, 1)[:, None] ** 1.2
    rows = np.asarray(top)[None] * (1 - way) + np.asarray(low)[None] * way
    return np.broadcast_to(np.clip(rows, 0, 255).astype(np.uint8)[:, None], (height, width, 3)).copy()


def _lights_of_the_sky(canvas: Canvas, time: str, rng: random.Random, x: float, width: int, horizon: float) -> None:
    if time == "night":
        for _ in range(rng.randint(14, 26)):
            star_x, star_y, radius = (
                rng.uniform(0, width),
                rng.uniform(0, horizon * 0.8),
                rng.uniform(0.8, 1.8),
            )
            canvas.disc(star_x, star_y, radius, (220, 226, 255))
        y = rng.uniform(0.12, 0.3) * horizon
        canvas.disc(x, y, 15, (238, 240, 226))
        canvas.disc(x + 6, y - 4, 13, (16, 20, 52))
        return
    if time == "noon":
        canvas.disc(x, rng.uniform(0.1, 0.2) * horizon, 17, (255, 252, 226))
        for _ in range(rng.randint(1, 3)):
            _cloud(
                canvas,
                rng.uniform(0, width),
                rng.uniform(0.15, 0.5) * horizon,
                rng,
                (246, 250, 255),
            )
        return
    colour = (255, 246, 214) if time == "dawn" else (255, 208, 96)
    canvas.disc(x, horizon - rng.uniform(4, 14), 24, colour)
    if time == "dusk":
        for _ in range(rng.randint(2, 3)):
            y = rng.uniform(0.3, 0.7) * horizon
            start, length = (
                rng.uniform(-0.1, 0.7) * width,
                rng.uniform(0.2, 0.4) * width,
            )
            canvas.draw.ellipse((start, y, start + length, y + 7), fill=(196, 74, 84))


def _cloud(canvas: Canvas, x: float, y: float, rng: random.Random, colour: RGB) -> None:
    for _ in range(4):
        radius = rng.uniform(9, 17)
        canvas.disc(x + rng.uniform(-30, 30), y + rng.uniform(-5, 5), radius, colour)


def _far_hills(canvas: Canvas, rng: random.Random, width: int, horizon: float, shape: float, colour: RGB) -> None:
    phase, waves, lift = 6.28 * shape, rng.uniform(1.2, 2.6), 8 + 14 * shape
    xs = np.linspace(0, width, 40)
    ys = horizon - lift * (0.5 + 0.5 * np.sin(phase + waves * xs / width * 6.28))
    canvas.polygon([(0, horizon + 2), *zip(xs, ys, strict=True), (width, horizon + 2)], colour)


def _ground(
    canvas: Canvas,
    ground: str,
    rng: random.Random,
    width: int,
    height: int,
    horizon: float,
) -> None:
    near_and_far = [canvas.lit(colour) for colour in _GROUND_COLOURS[ground]]
    far, near = near_and_far
    rows = np.linspace(0, 1, height - int(horizon))[:, None]
    band = (np.asarray(far)[None] * (1 - rows) + np.asarray(near)[None] * rows).astype(np.uint8)
    patch = np.broadcast_to(band[:, None], (band.shape[0], width, 3))
    canvas.image.paste(Image.fromarray(np.ascontiguousarray(patch)), (0, int(horizon)))
    deep = height - horizon

    def spot() -> tuple[float, float, float]:
        way = rng.uniform(0.12, 1)
        return rng.uniform(0, width), horizon + way * deep, way

    if ground == "desert":
        for _ in range(4):
            x, y, way = spot()
            canvas.arc(x, y, 90 * way + 30, 10 * way + 4, shade(far, 1.14), 4)
    elif ground == "meadow":
        for _ in range(46):
            x, y, way = spot()
            canvas.draw.line(
                (x, y, x + rng.uniform(-3, 3), y - 10 * way - 3),
                fill=shade(near, 0.72),
                width=3,
            )
    elif ground == "snow":
        for _ in range(5):
            x, y, way = spot()
            canvas.draw.ellipse((x - 50 * way, y - 5, x + 50 * way, y + 5), fill=shade(far, 0.93))
    elif ground == "lake":
        for _ in range(20):
            x, y, way = spot()
            canvas.draw.line((x - 26 * way, y, x + 26 * way, y), fill=shade(far, 1.42), width=3)
    else:
        for _ in range(11):
            x, y, way = spot()
            size = 24 * way + 6
            shape = [
                (x - size, y),
                (x - size * 0.5, y - size * 0.6),
                (x + size * 0.5, y - size * 0.5),
                (x + size, y),
            ]
            canvas.polygon(shape, shade(near, 0.7))
            canvas.polygon([shape[1], shape[2], (x, y)], shade(far, 1.18))


def _shadow(canvas: Canvas, x: float, base: float, size: float) -> None:
    pixel = canvas.image.getpixel((int(min(max(x, 0), canvas.image.width - 1)), int(base)))
    assert isinstance(pixel, tuple)
    colour = shade((int(pixel[0]), int(pixel[1]), int(pixel[2])), 0.72)
    canvas.draw.ellipse(
        (x - size * 0.48, base - size * 0.05, x + size * 0.48, base + size * 0.07),
        fill=colour,
    )
