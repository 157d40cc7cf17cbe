"""The held-out loss: pictures that were never trained on, at fixed noise and times, so that losses can be compared.

Not here: which pictures those are (`core.held_out`).
"""

import mlx.core as mx
import numpy as np

from sq_pipeline.core.recipe import Recipe
from sq_pipeline.engines.encoded_dataset import EncodedDataset
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.times import TimeCurve
from sq_pipeline.engines.training_loop import flow_matching_loss

_SEED = 20
_TIMES_EACH = 2


class HeldOutLoss:
    """Measures one network again and again. Each picture is looked at with two times; those of all pictures lie at even
    shares of what is trained at.
    """

    def __init__(self, dataset: EncodedDataset, recipe: Recipe, time_curve: TimeCurve) -> None:
        self._text, self._pooled, self._recipe = dataset.text, dataset.pooled, recipe
        numbers = np.random.default_rng(_SEED)
        pictures = sum(len(bucket.latent_of) for bucket in dataset.held_out)
        shares = (np.arange(pictures * _TIMES_EACH) + 0.5) / max(1, pictures * _TIMES_EACH)
        shares = numbers.permutation(shares)
        self._looks: list[tuple[mx.array, mx.array, mx.array, mx.array, tuple[int, int]]] = []
        for bucket in dataset.held_out:
            for latent, caption in zip(bucket.latent_of, bucket.caption_of, strict=True):
                latents = mx.repeat(bucket.latents[latent : latent + 1], _TIMES_EACH, axis=0)
                noise = mx.array(numbers.standard_normal(latents.shape).astype(np.float32))
                mine, shares = shares[:_TIMES_EACH], shares[_TIMES_EACH:]
                times = mx.array(time_curve(mine, latents.shape[1]).astype(np.float32))
                self._looks.append((latents, noise, times, mx.array([caption] * _TIMES_EACH), bucket.grid))
        self.pairs = pictures

    def measure(self, network: Flux) -> float | None:
        """The mean loss over all looks; None where no picture is held out."""
        if not self._looks:
            return None
        guidance = mx.full((_TIMES_EACH,), self._recipe.guidance)  # read only by models that take one
        losses: list[float] = []
        for latents, noise, times, captions, grid in self._looks:
            text, pooled = self._text[captions], self._pooled[captions]
            loss = flow_matching_loss(network, latents, noise, times, text, pooled, grid, guidance)
            losses.append(loss.item())  # one look's memory at a time
        return sum(losses) / len(losses)
