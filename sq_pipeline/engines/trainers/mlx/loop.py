"""The training loop: batches, loss, optimizer, and a state that it can be continued from, to the bit.

Not here: pictures and captions (`dataset_encoding`), the trained layers (`lora_layers`), files (`checkpoints`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import optimizers as optim
from mlx.nn.utils import value_and_grad
from mlx.utils import tree_flatten, tree_map, tree_map_with_path

from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.timestep_sampling import TimeCurve
from sq_pipeline.engines.trainers.mlx.draw_order import DrawOrder
from sq_pipeline.engines.trainers.mlx.encoded_dataset import Bucket, EncodedDataset
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.schedule import schedule_of


def learning_rate_schedule(recipe: Recipe) -> Callable[[mx.array], mx.array]:
    """The rate at an optimizer step, counted from 0, as MLX's optimizers ask for it."""
    rates = mx.array([recipe.learning_rate * share for share in schedule_of(recipe).shares()])
    return lambda step: rates[step]


def flow_matching_loss(
    network: Flux,
    latents: mx.array,
    noise: mx.array,
    times: mx.array,
    text: mx.array,
    pooled: mx.array,
    grid: tuple[int, int],
    guidance: mx.array | None = None,
) -> mx.array:
    """mean((prediction + picture − noise)²) at `(1 − t)·picture + t·noise`, as in mlx-examples.

    The network computes in the texts' dtype, the loss in float32.
    """
    t = times[:, None, None]
    noisy = ((1 - t) * latents + t * noise).astype(text.dtype)
    prediction = network(noisy, text, pooled, times, grid, guidance).astype(mx.float32)
    return ((prediction + latents - noise) ** 2).mean()


@dataclass(frozen=True)
class LoopState:
    """Where a loop stands after `iteration`.

    `arrays` by name: `adapter.*`, `optimizer.*`, `random.key` (MLX's), and `gathered.*` between two optimizer steps.
    `numbers` is the bit generator's state, `order` the views that are still to come in this round, `waiting` those that
    wait for the rest of their batch.
    """

    iteration: int
    arrays: Mapping[str, mx.array]
    numbers: Mapping[str, Any]
    order: tuple[int, ...]
    waiting: tuple[int, ...] = ()

    def is_finite(self) -> bool:
        """True when no array holds a NaN or an infinity."""
        kinds = [array for array in self.arrays.values() if mx.issubdtype(array.dtype, mx.floating)]
        return mx.all(mx.stack([mx.all(mx.isfinite(array)) for array in kinds])).item() is True


class TrainingLoop:
    """One recipe over one dataset, iteration by iteration. Gradients are averaged over `grad_accumulation` of them.

    `time_curve` says how often each time is drawn. Random numbers come from the recipe's seed alone.
    """

    def __init__(self, network: Flux, dataset: EncodedDataset, recipe: Recipe, time_curve: TimeCurve) -> None:
        self.iteration = 0
        # of (0 + picture − noise)²: noise has variance 1, whatever the time
        squares = [mx.mean(mx.square(bucket.latents)).item() for bucket in dataset.buckets]
        self.blank_loss: float = 1 + max(squares)
        self._network, self._dataset, self._recipe, self._time_curve = network, dataset, recipe, time_curve
        self._numbers = np.random.default_rng(recipe.seed)
        self._order = DrawOrder([len(bucket.latent_of) for bucket in dataset.buckets], self._numbers)
        self._optimizer = optim.Adam(learning_rate_schedule(recipe))
        self._optimizer.init(network.trainable_parameters())
        self._compiled: dict[tuple[int, int], Callable[..., Any]] = {}
        self._compiled_update: Callable[[Any], None] | None = None
        self._gathered: Any = None

    def advance(self) -> float:
        """Run the next iteration; returns its loss."""
        recipe, network = self._recipe, self._network
        self.iteration += 1
        grid, batch = self._draw()
        loss, gradient = self._loss_and_gradient(grid)(*batch)
        gathered = gradient if self._gathered is None else tree_map(lambda a, b: a + b, self._gathered, gradient)
        if self.iteration % recipe.grad_accumulation == 0 or self.iteration == recipe.iterations:
            parts = (self.iteration - 1) % recipe.grad_accumulation + 1
            if parts > 1:
                gathered = tree_map(lambda a: a / parts, gathered)
            self._update(gathered)
            gathered = None
        self._gathered = gathered
        mx.eval(loss, gathered, network.trainable_parameters(), self._optimizer.state)
        return loss.item()

    def _loss_and_gradient(self, grid: tuple[int, int]) -> Callable[..., Any]:
        """Compiled once for each size of pictures."""
        if grid not in self._compiled:
            network = self._network
            plain = value_and_grad(network, flow_matching_loss)

            def compute(*batch: mx.array) -> Any:
                *rest, guidance = batch
                return plain(network, *rest, grid, guidance)

            state = [network.state]
            self._compiled[grid] = mx.compile(compute, inputs=state, outputs=state)
        return self._compiled[grid]

    def _update(self, gradient: Any) -> None:
        """One step of the optimizer, compiled too."""
        if self._compiled_update is None:
            network, optimizer = self._network, self._optimizer
            state = [network.state, optimizer.state]
            step = lambda gradient: optimizer.update(network, gradient)  # noqa: E731
            self._compiled_update = mx.compile(step, inputs=state, outputs=state)
        self._compiled_update(gradient)

    def _draw(self) -> tuple[tuple[int, int], tuple[mx.array, ...]]:
        """The next batch: its grid, and the arrays of `flow_matching_loss` with the guidance."""
        recipe, dataset, numbers = self._recipe, self._dataset, self._numbers
        bucket, latents, captions = self._draw_crops()
        if recipe.caption_dropout and dataset.empty is not None:
            drops = numbers.random(recipe.batch_size) < recipe.caption_dropout
            captions = [dataset.empty if is_dropped else n for n, is_dropped in zip(captions, drops, strict=True)]
        noise = mx.array(numbers.standard_normal(latents.shape).astype(np.float32))
        times = self._time_curve(numbers.random(recipe.batch_size), latents.shape[1])
        chosen = mx.array(captions)
        guidance = mx.full((recipe.batch_size,), recipe.guidance)  # read only by models that take one
        times = mx.array(times.astype(np.float32))
        return bucket.grid, (latents, noise, times, dataset.text[chosen], dataset.pooled[chosen], guidance)

    def _draw_crops(self) -> tuple[Bucket, mx.array, list[int]]:
        recipe, dataset, numbers = self._recipe, self._dataset, self._numbers
        if recipe.prior_mix and dataset.prior and numbers.random() < recipe.prior_mix:
            bucket = dataset.prior[0]
            return bucket, *bucket.take(numbers.integers(len(bucket.latent_of), size=recipe.batch_size).tolist())
        number, crops = self._order.next_batch(recipe.batch_size)
        bucket = dataset.buckets[number]
        latents, captions = bucket.take(crops)
        if dataset.bare is not None:
            is_bare = numbers.random(recipe.batch_size) < 0.5
            captions = [dataset.bare if bare else own for own, bare in zip(captions, is_bare, strict=True)]
        return bucket, latents, captions

    def state(self) -> LoopState:
        """What `restore` needs to go on from here."""
        trees = {
            "adapter": self._network.trainable_parameters(),
            "optimizer": self._optimizer.state,
            "gathered": self._gathered or {},
        }
        arrays: dict[str, mx.array] = {"random.key": mx.random.state[0]}
        for kind, tree in trees.items():
            arrays |= {f"{kind}.{name}": array for name, array in tree_flatten(tree)}
        return LoopState(self.iteration, arrays, self._numbers.bit_generator.state, *self._order.state())

    def restore(self, state: LoopState) -> None:
        """Go on from `state`, which is of the same network, dataset and recipe; raises ValueError where it is not."""
        parameters = self._network.trainable_parameters()
        adapter = _taken(parameters, "adapter", state.arrays)
        optimizer = _taken(self._optimizer.state, "optimizer", state.arrays)
        is_between = any(name.startswith("gathered.") for name in state.arrays)
        gathered = _taken(parameters, "gathered", state.arrays) if is_between else None
        key = state.arrays.get("random.key")
        if key is None:
            raise ValueError("random.key is missing")
        # nothing of the loop is changed before everything was found good
        self._order.restore(state.order, state.waiting)
        self._numbers.bit_generator.state = dict(state.numbers)
        self._network.update(adapter)
        self._optimizer.state = optimizer
        self._compiled_update = None  # it holds the state that was
        self._gathered = gathered
        high, low = key.tolist()
        mx.random.seed(high << 32 | low)  # MLX's state can only be set as a seed, whose halves become the key
        self.iteration = state.iteration


def _taken(tree: Any, kind: str, arrays: Mapping[str, mx.array]) -> Any:
    """`tree` with each array replaced by the one of its name; raises ValueError for one that is missing or unlike."""

    def take(path: str, old: mx.array) -> mx.array:
        new = arrays.get(f"{kind}.{path}")
        if new is None or (new.shape, new.dtype) != (old.shape, old.dtype):
            found = "missing" if new is None else f"{new.dtype} {new.shape}"
            raise ValueError(f"{kind}.{path} is {found}, not {old.dtype} {old.shape}")
        return new

    return tree_map_with_path(take, tree)
