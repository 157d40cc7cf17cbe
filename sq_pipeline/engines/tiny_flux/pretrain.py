"""Trains tiny-flux from nothing but the painter: `python -m sq_pipeline.engines.tiny_flux.pretrain OUT`.

Five steps, resumed from the work folder: the tokenizer over captions, the text encoders, the picture codec's linear
part, the transformer, the codec's refiner. Not here: LoRA training (`engines.trainers.mlx.trainer`).
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx import optimizers as optim
from mlx.nn.losses import cross_entropy
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_flatten, tree_map, tree_unflatten
from tokenizers import Tokenizer

from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.tiny_flux import model, text, vae
from sq_pipeline.painter.scenes import Scene, paint, random_scene
from sq_pipeline.painter.styles import STYLES, paint_random_grade
from sq_pipeline.painter.vocabulary import GROUNDS, PLACES, SUBJECTS, TIMES, write_caption, write_vague_caption


@dataclass(frozen=True)
class PretrainRecipe:
    """Every number of the pretraining. `iterations` are optimizer steps."""

    seed: int = 3
    tokenizer_captions: int = 40_000
    text_iterations: int = 1200
    text_batch: int = 128
    text_rate: float = 3e-3
    codec_pictures: int = 3000
    codec_iterations: int = 600
    codec_batch: int = 8
    codec_rate: float = 1e-3
    codec_noise: float = 0.15
    pictures: int = 12_000
    iterations: int = 6000
    batch: int = 16
    rate: float = 1.2e-3
    warmup: int = 150
    weight_decay: float = 0.01
    ema_decay: float = 0.997
    vague_share: float = 0.12
    layout_share: float = 0.75
    short_share: float = 0.6
    layout_shift: float = 1.7
    checkpoint_every: int = 200


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _schedule(rate: float, warmup: int, iterations: int) -> Callable[[mx.array], mx.array]:
    return optim.join_schedules(
        [
            optim.linear_schedule(rate / 50, rate, warmup),
            optim.cosine_decay(rate, iterations - warmup, rate / 100),
        ],
        [warmup],
    )


def _scenes(count: int, seed: int) -> list[Scene]:
    rng = random.Random(seed)
    return [random_scene(rng) for _ in range(count)]


def make_tokenizer(recipe: PretrainRecipe) -> Tokenizer:
    """The tokenizer over captions of random scenes."""
    return text.train_tokenizer(scene.caption() for scene in _scenes(recipe.tokenizer_captions, recipe.seed + 1))


def draw_codec_pictures(recipe: PretrainRecipe) -> np.ndarray:
    """Plain, styled and randomly graded pictures, (count, 96, 128, 3) uint8."""
    rng, numbers = (
        random.Random(recipe.seed + 2),
        np.random.default_rng(recipe.seed + 2),
    )
    pictures: list[np.ndarray] = []
    for scene in _scenes(recipe.codec_pictures, recipe.seed + 3):
        image, dice = paint(scene), rng.random()
        if dice < 0.15:
            image = STYLES[rng.choice(list(STYLES))](image, numbers)
        elif dice < 0.4:
            image = paint_random_grade(image, numbers)
        pictures.append(np.asarray(image))
    return np.stack(pictures)


def train_refiner(recipe: PretrainRecipe, codec: vae.TinyVAE, pictures: np.ndarray) -> None:
    """Train the part of the decoder that is not linear.

    The loss is absolute and squared error plus the error of neighbouring pixels' differences. Noise on the
    tokens, smaller where a component is smaller, teaches it to join patches that do not quite agree.
    """
    numbers = np.random.default_rng(recipe.seed + 7)
    refiner = codec.refiner
    optimizer = optim.AdamW(_schedule(recipe.codec_rate, 60, recipe.codec_iterations), weight_decay=0.0)

    def loss(refiner: vae.Refiner, decoded: mx.array, x: mx.array) -> mx.array:
        error = decoded + refiner(decoded) - x
        down, across = error[:, 1:] - error[:, :-1], error[:, :, 1:] - error[:, :, :-1]
        return mx.abs(error).mean() + 2 * (error**2).mean() + mx.abs(down).mean() + mx.abs(across).mean()

    loss_and_gradient = value_and_grad(refiner, loss)
    start = time.perf_counter()
    for iteration in range(recipe.codec_iterations):
        chosen = numbers.integers(0, len(pictures), recipe.codec_batch)
        x = mx.array(pictures[chosen].astype(np.float32) / 127.5 - 1)
        tokens = codec.encode_tokens(x)
        noise = numbers.standard_normal(tokens.shape).astype(np.float32) * numbers.uniform(0, recipe.codec_noise)
        decoded = codec.decode_linear(tokens + mx.array(noise))
        value, gradient = loss_and_gradient(refiner, decoded, x)
        gradient, _ = optim.clip_grad_norm(gradient, 1.0)
        optimizer.update(refiner, gradient)
        mx.eval(refiner.parameters(), optimizer.state, value)
        if iteration % 50 == 0:
            _log(f"codec {iteration} loss {value.item():.4f} {time.perf_counter() - start:.0f} s")


def _encode_pictures(codec: vae.TinyVAE, scenes: list[Scene]) -> np.ndarray:
    packed: list[np.ndarray] = []
    for first in range(0, len(scenes), 100):
        pixels = np.stack([np.asarray(paint(scene)) for scene in scenes[first : first + 100]])
        x = mx.array(pixels.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
        packed.append(np.array(vae.pack(codec.encode(x))))
    return np.concatenate(packed)


def _captioned_scenes(recipe: PretrainRecipe, tokenizer: Tokenizer) -> tuple[list[Scene], list[list[int]]]:
    """Scenes in the mood of their captions, and these captions' token ids: most of them short."""
    rng = random.Random(recipe.seed + 9)
    scenes = _scenes(recipe.pictures, recipe.seed + 4)
    captions = [
        _write_caption(s, rng, recipe.vague_share, is_short=rng.random() < recipe.short_share)[0] for s in scenes
    ]
    rows = _tokenize(tokenizer, captions)
    moods = 0.5 + 0.5 * np.vectorize(math.erf)(text.word_moods(rows) / math.sqrt(2))
    return [replace(s, mood=tuple(map(float, mood))) for s, mood in zip(scenes, moods, strict=True)], rows


def _write_caption(scene: Scene, rng: random.Random, vague_share: float, *, is_short: bool) -> tuple[str, list[str]]:
    """A caption, and the scene's words that it names ("" for one it leaves open)."""
    words = [scene.time, scene.ground, scene.subject, scene.place]
    if rng.random() < vague_share:
        named = [word if rng.random() < 0.4 else "" for word in words]
        return write_vague_caption(*named, rng), named
    return write_caption(*words, rng, is_short=is_short), words


def _tokenize(tokenizer: Tokenizer, captions: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(captions)]


def _pad(rows: list[list[int]]) -> mx.array:
    """Token ids (captions, tokens). Lengths in steps of 8 keep the number of compiled shapes small; the model learns
    to read past padding.
    """
    longest = -(-max(map(len, rows)) // 8) * 8
    return mx.array([row + [0] * (longest - len(row)) for row in rows])


class _Reader(nn.Module):
    """The text encoders with a classifier for each of a scene's four words, and its mood, over the pooled text."""

    def __init__(self, parts: model.TinyFluxParts) -> None:
        super().__init__()
        self.t5, self.clip = parts.t5, parts.clip
        self.heads = [nn.Linear(text.POOLED_SIZE, len(words)) for words in _WORD_LISTS]
        self.mood = nn.Linear(text.POOLED_SIZE, text.MOODS)

    def __call__(self, ids: mx.array) -> tuple[list[mx.array], mx.array]:
        """Scores of each word list, and the mood (texts, 3)."""
        pooled = self.clip(ids)
        return [head(pooled) for head in self.heads], self.mood(pooled)


_WORD_LISTS = [["", *words] for words in (TIMES, GROUNDS, SUBJECTS, PLACES)]


def train_text_encoders(recipe: PretrainRecipe, parts: model.TinyFluxParts, tokenizer: Tokenizer) -> _Reader:
    """Teach the encoders to tell a caption's four words and its mood; the transformer then finds them told.

    As FLUX.1's own, they are trained before it and kept as they are while it learns. Without this, time and ground
    were learned from the pictures in a few hundred iterations, but subjects not in thousands.
    """
    rng = random.Random(recipe.seed + 8)
    reader = _Reader(parts)
    optimizer = optim.AdamW(_schedule(recipe.text_rate, 50, recipe.text_iterations), weight_decay=0.01)

    def loss(reader: _Reader, ids: mx.array, targets: mx.array, moods: mx.array) -> mx.array:
        scores, mood = reader(ids)
        losses = [cross_entropy(score, targets[:, i], reduction="mean") for i, score in enumerate(scores)]
        return sum(losses, ((mood - moods) ** 2).mean())

    loss_and_gradient, start = value_and_grad(reader, loss), time.perf_counter()
    for iteration in range(recipe.text_iterations):
        written = [
            _write_caption(random_scene(rng), rng, 0.3, is_short=rng.random() < 0.3) for _ in range(recipe.text_batch)
        ]
        rows = _tokenize(tokenizer, [caption for caption, _ in written])
        ids, moods = _pad(rows), mx.array(text.word_moods(rows))
        targets = mx.array([[_WORD_LISTS[i].index(word) for i, word in enumerate(words)] for _, words in written])
        value, gradient = loss_and_gradient(reader, ids, targets, moods)
        optimizer.update(reader, gradient)
        mx.eval(reader.parameters(), optimizer.state, value)
        if iteration % 100 == 99:
            scores, mood = reader(ids)
            hits = [float((score.argmax(-1) == targets[:, i]).mean()) for i, score in enumerate(scores)]
            told = ", ".join(f"{hit:.1%}" for hit in hits)
            error = float(mx.sqrt(((mood - moods) ** 2).mean()))
            _log(f"text {iteration + 1} words {told}, mood ± {error:.2f}, {time.perf_counter() - start:.0f} s")
    return reader


def train_transformer(
    recipe: PretrainRecipe,
    parts: model.TinyFluxParts,
    tokenizer: Tokenizer,
    work: Path,
    *,
    use_compile: bool,
) -> None:
    """Flow matching over the painter's pictures; the transformer ends with the moving average of its weights.

    Times are logit-normal (Esser et al. 2024, section 3.1). A checkpoint every `checkpoint_every` steps
    lets an interrupted training go on.
    """
    numbers = np.random.default_rng(recipe.seed + 5)
    scenes, rows = _captioned_scenes(recipe, tokenizer)
    latents = _encode_pictures(parts.vae, scenes)
    _log(f"encoded {len(latents)} pictures, deviation {latents.std():.3f}")
    trained = parts.transformer
    optimizer = optim.AdamW(
        _schedule(recipe.rate, recipe.warmup, recipe.iterations),
        weight_decay=recipe.weight_decay,
    )
    optimizer.init(trained.trainable_parameters())
    average = tree_map(lambda array: array + 0, trained.parameters())
    first = 0
    checkpoint = work / "transformer.checkpoint.safetensors"
    if checkpoint.is_file():
        saved: dict[str, mx.array] = mx.load(str(checkpoint))  # type: ignore[assignment]
        groups: dict[str, list[tuple[str, mx.array]]] = {"w": [], "o": [], "a": []}
        for name, array in saved.items():
            if name != "iteration":
                groups[name[0]].append((name[2:], array))
        trained.load_weights(groups["w"])
        optimizer.state = tree_unflatten(groups["o"])
        average = tree_unflatten(groups["a"])
        first = int(saved["iteration"].item())
        numbers = np.random.default_rng(recipe.seed + first)

    def loss(trained: Flux, x: mx.array, noise: mx.array, times: mx.array, ids: mx.array) -> mx.array:
        t = times[:, None, None]
        told = mx.stop_gradient(parts.t5(ids)), mx.stop_gradient(parts.clip(ids))
        return ((trained((1 - t) * x + t * noise, *told, times, (6, 8)) - (noise - x)) ** 2).mean()

    loss_and_gradient = value_and_grad(trained, loss)

    def step(x: mx.array, noise: mx.array, times: mx.array, ids: mx.array) -> mx.array:
        value, gradient = loss_and_gradient(trained, x, noise, times, ids)
        gradient, _ = optim.clip_grad_norm(gradient, 1.0)
        optimizer.update(trained, gradient)
        return value

    state: list[Any] = [trained.state, optimizer.state]
    run = mx.compile(step, inputs=state, outputs=state) if use_compile else step
    start, recent = time.perf_counter(), []
    for iteration in range(first, recipe.iterations):
        chosen = numbers.integers(0, len(scenes), recipe.batch)
        is_layout = iteration < recipe.layout_share * recipe.iterations
        ids = _pad([rows[i] for i in chosen])
        times = 1 / (
            1
            + np.exp(
                -numbers.normal(recipe.layout_shift if is_layout else model.TIME_SHIFT, model.TIME_SPREAD, recipe.batch)
            )
        )
        noise = numbers.standard_normal((recipe.batch, *latents.shape[1:])).astype(np.float32)
        value = run(
            mx.array(latents[chosen]),
            mx.array(noise),
            mx.array(times.astype(np.float32)),
            ids,
        )
        decay = min(recipe.ema_decay, (1 + iteration) / (10 + iteration))
        if iteration % 4 == 3:  # averaged every fourth step, with the decay of four
            share = 1 - decay**4
            average = tree_map(
                lambda old, new, share=share: old + share * (new - old),
                average,
                trained.parameters(),
            )
        mx.eval(state, average, value)
        recent.append(value.item())
        if iteration % 50 == 49:
            _log(f"step {iteration + 1} loss {np.mean(recent[-200:]):.4f} {time.perf_counter() - start:.0f} s")
        if (iteration + 1) % recipe.checkpoint_every == 0:
            arrays = {"iteration": mx.array(iteration + 1)}
            for letter, tree in (
                ("w", trained.parameters()),
                ("o", optimizer.state),
                ("a", average),
            ):
                arrays |= {f"{letter}.{name}": array for name, array in tree_flatten(tree)}
            mx.save_safetensors(str(work / "next.safetensors"), arrays)
            (work / "next.safetensors").replace(checkpoint)
    trained.update(average)


def main() -> None:
    """Train all three steps into `OUT`; `--work` keeps what an interrupted training needs."""
    parser = argparse.ArgumentParser(description="Train tiny-flux on pictures drawn by the painter.")
    parser.add_argument("out", type=Path, help="folder for the model, such as data/models/tiny-flux")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".tmp/tiny-flux"),
        help="folder for checkpoints",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="fuse operations; needs a C++ compiler on a CPU",
    )
    for name, value in asdict(PretrainRecipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    out, work, use_compile = (
        arguments.pop("out"),
        arguments.pop("work"),
        arguments.pop("compile"),
    )
    recipe = PretrainRecipe(**arguments)
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)

    tokenizer_file = out / model.TOKENIZER_FILE
    text_file, codec_file, refiner_file = (work / f"{name}.safetensors" for name in ("text", "codec", "refiner"))
    if not tokenizer_file.is_file():
        make_tokenizer(recipe).save(str(tokenizer_file))
    mx.random.seed(recipe.seed)
    parts = model.new_parts(fast_activations=mx.default_device() == mx.Device(mx.cpu))
    tokenizer = text.load_tokenizer(tokenizer_file)
    if text_file.is_file():
        _Reader(parts).load_weights(str(text_file))
    else:
        reader = train_text_encoders(recipe, parts, tokenizer)
        mx.save_safetensors(str(text_file), dict(tree_flatten(reader.parameters())))
    pictures = draw_codec_pictures(recipe)
    if codec_file.is_file():
        parts.vae.load_weights(str(codec_file))
    else:
        parts.vae.fit(pictures)
        mx.save_safetensors(str(codec_file), dict(tree_flatten(parts.vae.parameters())))
    train_transformer(recipe, parts, tokenizer, work, use_compile=use_compile)
    if refiner_file.is_file():
        parts.vae.refiner.load_weights(str(refiner_file))
    else:
        train_refiner(recipe, parts.vae, pictures)
        mx.save_safetensors(str(refiner_file), dict(tree_flatten(parts.vae.refiner.parameters())))
    command = "python -m sq_pipeline.engines.tiny_flux.pretrain data/models/tiny-flux"
    model.save_parts(out, parts, {"command": command, **asdict(recipe)})


if __name__ == "__main__":
    main()
