"""The autoencoder's step."""

import random
import time

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import optimizers as optim
from mlx.nn.utils import value_and_grad

from sq_pipeline.engines.tiny_flux.large.autoencoder import PATCH_PX, TinyAutoencoder
from sq_pipeline.engines.tiny_flux.large.pretraining.kinds import any_kind
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe
from sq_pipeline.engines.tiny_flux.large.pretraining.steps import log, schedule
from sq_pipeline.painter.styles import STYLES, paint_random_grade

_CROP_PX = 8 * PATCH_PX
Pictures = npt.NDArray[np.uint8]


def draw_codec_pictures(recipe: PretrainRecipe) -> Pictures:
    """Crops of plain, styled and randomly graded pictures, some of half size: (count, 128, 128, 3)."""
    rng, numbers = random.Random(recipe.seed + 2), np.random.default_rng(recipe.seed + 2)
    pictures: list[Pictures] = []
    for _ in range(recipe.codec_pictures):
        kind = any_kind(rng)
        image, dice = kind.paint(kind.random_scene(rng), kind.size_px), rng.random()
        if dice < 0.15:
            image = STYLES[rng.choice(list(STYLES))](image, numbers)
        elif dice < 0.4:
            image = paint_random_grade(image, numbers)
        if rng.random() < 0.3:  # what the transformer learns from first
            image = image.reduce(2)
        pixels = np.asarray(image)
        height, width = pixels.shape[:2]
        short = np.pad(pixels, ((0, max(0, _CROP_PX - height)), (0, max(0, _CROP_PX - width)), (0, 0)), mode="edge")
        top, left = (rng.randint(0, side - _CROP_PX) for side in short.shape[:2])
        pictures.append(short[top : top + _CROP_PX, left : left + _CROP_PX])
    return np.stack(pictures)


def train_autoencoder(recipe: PretrainRecipe, codec: TinyAutoencoder, pictures: Pictures) -> None:
    """Train encoder and decoder together, from the projection onto principal components.

    The loss is the squared error of pixels and of neighbouring pixels' differences: with an absolute one, nothing at
    all was the best that a few hundred iterations found to add. Noise on the tokens is what a transformer will leave.
    """
    codec.begin_with(pictures)
    codec.freeze(keys=["mean", "basis", "scale"], recurse=False)
    numbers = np.random.default_rng(recipe.seed + 7)
    optimizer = optim.AdamW(schedule(recipe.codec_rate, 60, recipe.codec_iterations), weight_decay=0.0)

    def loss(codec: TinyAutoencoder, x: mx.array, noise: mx.array) -> mx.array:
        error = codec.decode_tokens(codec.encode_tokens(x) + noise) - x
        down, across = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
        return (error**2).mean() + (down**2).mean() + (across**2).mean()

    loss_and_gradient, start, recent = value_and_grad(codec, loss), time.perf_counter(), []
    for iteration in range(recipe.codec_iterations):
        chosen = numbers.integers(0, len(pictures), recipe.codec_batch)
        x = mx.array(pictures[chosen].astype(np.float32) / 127.5 - 1)
        if numbers.random() < 0.5:
            x = x[:, :, ::-1]
        sizes = numbers.uniform(0, recipe.codec_noise, (recipe.codec_batch, 1, 1, 1))
        noise = numbers.standard_normal((recipe.codec_batch, 8, 8, 64)) * sizes
        value, gradient = loss_and_gradient(codec, x, mx.array(noise.astype(np.float32)))
        gradient, _ = optim.clip_grad_norm(gradient, 1.0)
        optimizer.update(codec, gradient)
        mx.eval(codec.parameters(), optimizer.state, value)
        recent.append(value.item())
        if iteration % 50 == 49:
            log(f"codec {iteration + 1} loss {np.mean(recent[-50:]):.4f} {time.perf_counter() - start:.0f} s")
    codec.unfreeze()
