"""The pictures that the transformer learns from, as latents, with the token ids of their captions."""

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from sq_pipeline.engines.tiny_flux.large import text
from sq_pipeline.engines.tiny_flux.large.autoencoder import PATCH_PX, TinyAutoencoder
from sq_pipeline.engines.tiny_flux.large.pretraining.kinds import KINDS, Kind, caption_of
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe
from sq_pipeline.engines.tiny_flux.large.pretraining.steps import log, tokenize

Latents = npt.NDArray[np.float16]
HALF, WHOLE = 2, 1  # how many patches of the whole picture stand in one, by side
_AT_ONCE = 32


@dataclass(frozen=True)
class Learned:
    """The pictures of one kind. `rows`: token ids; `latents` by stride: (pictures, tokens, 64)."""

    kind: Kind
    rows: list[list[int]]
    latents: dict[int, Latents]

    def grid(self, stride: int) -> tuple[int, int]:
        """Rows and columns of tokens."""
        width, height = self.kind.size_px
        return height // (PATCH_PX * stride), width // (PATCH_PX * stride)


def captioned(recipe: PretrainRecipe, kind: Kind, tokenizer: Tokenizer, count: int, seed: str) -> tuple[list[Any], Any]:
    """`count` scenes in the mood of their captions, and these captions' token ids: most of them short."""
    rng = random.Random(seed)
    scenes = [kind.random_scene(rng) for _ in range(count)]
    captions = [
        caption_of(kind, scene, rng, recipe.vague_share, is_short=rng.random() < recipe.short_share)[0]
        for scene in scenes
    ]
    rows = tokenize(tokenizer, captions)
    moods = 0.5 + 0.5 * np.vectorize(math.erf)(text.word_moods(rows) / math.sqrt(2))
    return [replace(s, mood=tuple(map(float, mood))) for s, mood in zip(scenes, moods, strict=True)], rows


def draw_pictures(
    recipe: PretrainRecipe, codec: TinyAutoencoder, tokenizer: Tokenizer, work: Path, rank: int, size: int
) -> list[Learned]:
    """This process's part of all pictures, painted and encoded; kept in `work`."""
    return [_draw(recipe, kind, codec, tokenizer, work, rank, size) for kind in KINDS]


def _draw(
    recipe: PretrainRecipe, kind: Kind, codec: TinyAutoencoder, tokenizer: Tokenizer, work: Path, rank: int, size: int
) -> Learned:
    count = round(recipe.pictures * kind.share / size)
    seed = f"{recipe.seed} {kind.name} {rank}/{size}"
    scenes, rows = captioned(recipe, kind, tokenizer, count, seed)
    kept = work / f"{kind.name}-{rank}-{size}-{count}.npz"
    if kept.is_file():
        with np.load(kept) as file:
            return Learned(kind, rows, {HALF: file["half"], WHOLE: file["whole"]})
    latents: dict[int, list[Latents]] = {HALF: [], WHOLE: []}
    for first in range(0, count, _AT_ONCE):
        images = [kind.paint(scene, kind.size_px) for scene in scenes[first : first + _AT_ONCE]]
        for stride, found in latents.items():
            pixels = np.stack([np.asarray(image.reduce(stride) if stride > 1 else image) for image in images])
            tokens = codec.encode_tokens(mx.array(pixels.astype(np.float32) / 127.5 - 1))
            found.append(np.array(tokens.reshape(len(images), -1, tokens.shape[-1])).astype(np.float16))
        if first % (40 * _AT_ONCE) == 0:
            log(f"{kind.name} {first} of {count} painted ({rank + 1}/{size})")
    joined = {stride: np.concatenate(found) for stride, found in latents.items()}
    np.savez(kept, half=joined[HALF], whole=joined[WHOLE])
    return Learned(kind, rows, joined)
