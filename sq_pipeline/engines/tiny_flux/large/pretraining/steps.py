"""What the steps share: a log, a schedule, padding, and the processes that learn side by side."""

import sys
from collections.abc import Callable, Sequence

import mlx.core as mx
from mlx import optimizers as optim
from tokenizers import Tokenizer


def log(line: str) -> None:
    """A line to the standard error stream."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def schedule(rate: float, warmup: int, iterations: int) -> Callable[[mx.array], mx.array]:
    """A linear warm-up, then half a cosine down to a hundredth."""
    down = optim.cosine_decay(rate, max(1, iterations - warmup), rate / 100)
    return optim.join_schedules([optim.linear_schedule(rate / 50, rate, warmup), down], [warmup])


def tokenize(tokenizer: Tokenizer, captions: Sequence[str]) -> list[list[int]]:
    """The captions' token ids."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(captions))]


def pad(rows: Sequence[Sequence[int]]) -> mx.array:
    """Token ids (captions, tokens). Lengths in steps of 8 keep the number of compiled shapes small; the model learns
    to read past padding.
    """
    longest = -(-max(map(len, rows)) // 8) * 8
    return mx.array([[*row, *[0] * (longest - len(row))] for row in rows])
