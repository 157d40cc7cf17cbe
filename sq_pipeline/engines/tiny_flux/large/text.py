"""tiny-flux's words: one byte-level BPE tokenizer and two small encoders, called as mflux calls T5 and CLIP.

Here: tokens to embeddings. Not here: what the words mean to a picture (that is learned) or where files are.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT_SIZE = 128
POOLED_SIZE = 256
VOCABULARY = 1280
PAD, END = "<pad>", "</s>"
_POOL_HEADS = 4
_NEAR = 2  # tokens to each side that a token sees
MOODS, _MOOD_SEED, _MOOD_SCALE = 3, 12, 4.0


def train_tokenizer(captions: Iterable[str]) -> Tokenizer:
    """A byte-level BPE tokenizer over `captions`, lower-cased, that ends every text with `</s>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer file as `tokenizers` reads it; nothing is truncated or padded."""
    return Tokenizer.from_file(str(path))


def word_moods(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
    """What all tokens of a text say together, the painter's words or not: (texts, 3) float32, about N(0, 1).

    To a large model any other word makes another picture; so it is here. Each token has three fixed random numbers,
    and a text their mean, scaled. Padding is left out.
    """
    numbers = np.random.default_rng(_MOOD_SEED).standard_normal((VOCABULARY, MOODS))
    return np.array([_MOOD_SCALE * numbers[[i for i in row if i]].mean(0) for row in rows], dtype=np.float32)


class TinyT5(nn.Module):
    """Token ids (batch, tokens) → embeddings (batch, tokens, 128); each token also sees two to each side."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, TEXT_SIZE)
        self.context = nn.Linear((2 * _NEAR + 1) * TEXT_SIZE, TEXT_SIZE)

    def __call__(self, input_ids: mx.array) -> mx.array:
        x = self.embedding(input_ids)
        padded, tokens = mx.pad(x, ((0, 0), (_NEAR, _NEAR), (0, 0))), x.shape[1]
        near = mx.concatenate([padded[:, first : first + tokens] for first in range(2 * _NEAR + 1)], axis=-1)
        return x + nn.gelu_approx(self.context(near))


class TinyCLIP(nn.Module):
    """Token ids (batch, tokens) → pooled text (batch, 256): four learned weightings of the tokens, and their mean.

    Padding is left out.
    """

    def __init__(self, tower: TinyT5) -> None:
        super().__init__()
        self._tower = tower  # underscored, so that its weights are counted once
        self.score = nn.Linear(TEXT_SIZE, _POOL_HEADS)
        self.out = nn.Linear((_POOL_HEADS + 1) * TEXT_SIZE, POOLED_SIZE)

    def __call__(self, input_ids: mx.array) -> mx.array:
        x = self._tower(input_ids)
        is_padding = (input_ids == 0)[..., None]
        scores = mx.concatenate([self.score(x), mx.zeros_like(x[..., :1])], axis=-1)
        weights = mx.softmax(mx.where(is_padding, -1e9, scores), axis=1)
        pooled = weights.transpose(0, 2, 1) @ x
        return self.out(pooled.reshape(x.shape[0], -1))
