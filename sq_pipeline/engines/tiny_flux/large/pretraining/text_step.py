"""The text encoders' step: they learn to tell the words of a caption, before the transformer reads them."""

import random
import time

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx import optimizers as optim
from mlx.nn.losses import cross_entropy
from mlx.nn.utils import value_and_grad
from tokenizers import Tokenizer

from sq_pipeline.engines.tiny_flux.large import text
from sq_pipeline.engines.tiny_flux.large.model import TinyFluxParts
from sq_pipeline.engines.tiny_flux.large.pretraining.kinds import KINDS, Kind, Words, any_kind, caption_of
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe
from sq_pipeline.engines.tiny_flux.large.pretraining.steps import log, pad, schedule, tokenize

# of each kind its words, in which those of another kind are open; and which kind it is
_LISTS = [("", *words) for kind in KINDS for words in kind.words.values()]
_NAMES = [f"{kind.name} {name}" for kind in KINDS for name in kind.words]
_KIND = "kind"


def make_tokenizer(recipe: PretrainRecipe) -> Tokenizer:
    """The tokenizer over captions of random scenes."""
    rng = random.Random(recipe.seed + 1)

    def captions() -> list[str]:
        kinds = [any_kind(rng) for _ in range(recipe.tokenizer_captions)]
        return [caption_of(kind, kind.random_scene(rng), rng, 0.1, is_short=False)[0] for kind in kinds]

    return text.train_tokenizer(captions())


class Reader(nn.Module):
    """The text encoders with classifiers over the pooled text: the kind, each list's word, and the mood."""

    def __init__(self, parts: TinyFluxParts) -> None:
        super().__init__()
        self.t5, self.clip = parts.t5, parts.clip
        self.heads = [nn.Linear(text.POOLED_SIZE, size) for size in (len(KINDS), *map(len, _LISTS))]
        self.mood = nn.Linear(text.POOLED_SIZE, text.MOODS)

    def __call__(self, ids: mx.array) -> tuple[list[mx.array], mx.array]:
        """Scores of the kind and of each list, and the mood (texts, 3)."""
        pooled = self.clip(ids)
        return [head(pooled) for head in self.heads], self.mood(pooled)


def _targets(kind: Kind, words: Words) -> list[int]:
    said = {f"{kind.name} {name}": word for name, word in words.items()}
    told = [listed.index(said.get(name, "")) for name, listed in zip(_NAMES, _LISTS, strict=True)]
    return [KINDS.index(kind), *told]


def train_text_encoders(recipe: PretrainRecipe, parts: TinyFluxParts, tokenizer: Tokenizer) -> Reader:
    """Teach the encoders to tell a caption's words and its mood; the transformer then finds them told.

    As FLUX.1's own, they are trained before it and kept as they are while it learns. Without this, time and ground
    were learned from the pictures in a few hundred iterations, but subjects not in thousands.
    """
    rng = random.Random(recipe.seed + 8)
    reader = Reader(parts)
    optimizer = optim.AdamW(schedule(recipe.text_rate, 50, recipe.text_iterations), weight_decay=0.01)

    def loss(reader: Reader, ids: mx.array, targets: mx.array, moods: mx.array) -> mx.array:
        scores, mood = reader(ids)
        losses = [cross_entropy(score, targets[:, i], reduction="mean") for i, score in enumerate(scores)]
        return sum(losses, ((mood - moods) ** 2).mean())

    loss_and_gradient, start = value_and_grad(reader, loss), time.perf_counter()
    for iteration in range(recipe.text_iterations):
        kinds = [any_kind(rng) for _ in range(recipe.text_batch)]
        written = [caption_of(kind, kind.random_scene(rng), rng, 0.3, is_short=rng.random() < 0.3) for kind in kinds]
        rows = tokenize(tokenizer, [caption for caption, _ in written])
        ids, moods = pad(rows), mx.array(text.word_moods(rows))
        targets = mx.array([_targets(kind, words) for kind, (_, words) in zip(kinds, written, strict=True)])
        value, gradient = loss_and_gradient(reader, ids, targets, moods)
        optimizer.update(reader, gradient)
        mx.eval(reader.parameters(), optimizer.state, value)
        if iteration % 100 == 99:
            scores, mood = reader(ids)
            hits = [float((score.argmax(-1) == targets[:, i]).mean()) for i, score in enumerate(scores)]
            told = ", ".join(f"{name} {hit:.0%}" for name, hit in zip((_KIND, *_NAMES), hits, strict=True) if hit < 1)
            error = float(mx.sqrt(((mood - moods) ** 2).mean()))
            seconds = time.perf_counter() - start
            log(f"text {iteration + 1}: {np.mean(hits):.2%} ({told}), mood ± {error:.2f}, {seconds:.0f} s")
    return reader
