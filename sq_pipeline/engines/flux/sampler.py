"""Making pictures with the network that is being trained: mflux's schedule and noise, Euler's steps. As tokens.

For samples while training and the base model's own pictures; what a game gets is rendered by mflux itself.
"""

from collections.abc import Sequence
from itertools import pairwise

import mlx.core as mx

from sq_pipeline.engines.flux.network import Flux


def sample_tokens(
    network: Flux,
    text: mx.array,
    pooled: mx.array,
    *,
    seed: int,
    sigmas: Sequence[float],
    grid: tuple[int, int],
    guidance: float | None,
) -> mx.array:
    """One picture's latent tokens (1, rows · columns, 64), float32, for one text (1, tokens, width).

    `sigmas` fall from 1 to 0. The noise of a seed is mflux's, and leaves MLX's own random state alone.
    """
    tokens = mx.random.normal((1, grid[0] * grid[1], network.dims.latent_size), key=mx.random.key(seed))
    given = None if guidance is None else mx.array([guidance])
    for now, then in pairwise(sigmas):
        velocity = network(tokens.astype(text.dtype), text, pooled, mx.array([now]), grid, given)
        tokens = tokens + (then - now) * velocity.astype(mx.float32)
        mx.eval(tokens)
    return tokens
