"""The transformer's step: flow matching over the painter's pictures, in as many processes as there are cores."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import optimizers as optim
from mlx.nn.utils import average_gradients, value_and_grad
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.tiny_flux.large.model import TIME_SHIFT, TIME_SPREAD, TinyFluxParts
from sq_pipeline.engines.tiny_flux.large.pretraining.pictures import HALF, WHOLE, Learned
from sq_pipeline.engines.tiny_flux.large.pretraining.recipe import PretrainRecipe
from sq_pipeline.engines.tiny_flux.large.pretraining.steps import log, pad

_CHECKPOINT = "transformer.checkpoint.safetensors"
_AVERAGED_EVERY = 4


@dataclass(frozen=True)
class _Stage:
    stride: int
    first: int
    last: int
    batch: int
    shift: float


def _stages(recipe: PretrainRecipe) -> tuple[_Stage, _Stage]:
    half, whole = recipe.half_iterations, recipe.whole_iterations
    return (
        _Stage(HALF, 0, half, recipe.half_batch, recipe.half_shift),
        _Stage(WHOLE, half, half + whole, recipe.whole_batch, TIME_SHIFT),
    )


def _rate(recipe: PretrainRecipe) -> Any:
    """Steady over the half-size stage, after a warm-up; half a cosine over the other."""
    stages = [
        optim.linear_schedule(recipe.half_rate / 50, recipe.half_rate, recipe.warmup),
        lambda _step: recipe.half_rate,
        optim.cosine_decay(recipe.whole_rate, max(1, recipe.whole_iterations), recipe.whole_rate / 100),
    ]
    return optim.join_schedules(stages, [recipe.warmup, recipe.half_iterations])


def _batches(
    recipe: PretrainRecipe, learned: list[Learned], first: int, rank: int, size: int
) -> Iterator[tuple[Learned, _Stage, Any, Any, Any, mx.array]]:
    """From step `first` on: a kind, its stage, latents, noise, times and token ids of this process's share.

    All processes draw the same kind, so that none waits for a longer batch of another's.
    """
    kinds, numbers = (
        np.random.default_rng((recipe.seed, 1, first)),
        np.random.default_rng((recipe.seed, 2, first, rank)),
    )
    for stage in _stages(recipe):
        for _ in range(max(first, stage.first), stage.last):
            of_kind = learned[kinds.choice(len(learned), p=[one.kind.share for one in learned])]
            count = stage.batch // size
            chosen = numbers.integers(0, len(of_kind.rows), count)
            latents = of_kind.latents[stage.stride][chosen].astype(np.float32)
            noise = numbers.standard_normal(latents.shape, dtype=np.float32)
            times = 1 / (1 + np.exp(-numbers.normal(stage.shift, TIME_SPREAD, count)))
            yield of_kind, stage, latents, noise, times.astype(np.float32), pad([of_kind.rows[i] for i in chosen])


def train_transformer(
    recipe: PretrainRecipe, parts: TinyFluxParts, learned: list[Learned], work: Path, group: mx.distributed.Group
) -> None:
    """Flow matching; the transformer ends with the moving average of its weights.

    Times are logit-normal (Esser et al. 2024, section 3.1). A checkpoint every `checkpoint_every` steps lets an
    interrupted training go on. Each process has its share of every batch; their gradients are averaged.
    """
    trained, rank, size = parts.transformer, group.rank(), group.size()
    optimizer = optim.AdamW(_rate(recipe), betas=[0.9, 0.98], weight_decay=recipe.weight_decay)
    optimizer.init(trained.trainable_parameters())
    average = tree_map(lambda array: array + 0, trained.parameters())
    first = 0
    checkpoint = work / _CHECKPOINT
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

    def loss(
        trained: Flux, x: mx.array, noise: mx.array, times: mx.array, ids: mx.array, grid: tuple[int, int], stride: int
    ) -> mx.array:
        t = times[:, None, None]
        told = mx.stop_gradient(parts.t5(ids)), mx.stop_gradient(parts.clip(ids))
        seen = trained((1 - t) * x + t * noise, *told, times, grid, patch_stride=stride)
        return ((seen - (noise - x)) ** 2).mean()

    loss_and_gradient = value_and_grad(trained, loss)
    start, recent = time.perf_counter(), []
    for iteration, (of_kind, stage, latents, noise, times, ids) in enumerate(
        _batches(recipe, learned, first, rank, size), first
    ):
        grid = of_kind.grid(stage.stride)
        value, gradient = loss_and_gradient(
            trained, mx.array(latents), mx.array(noise), mx.array(times), ids, grid, stage.stride
        )
        gradient, _ = optim.clip_grad_norm(average_gradients(gradient, group), 1.0)
        optimizer.update(trained, gradient)
        if iteration % _AVERAGED_EVERY == _AVERAGED_EVERY - 1:  # with the decay of all steps since the last time
            decay = min(recipe.ema_decay, (1 + iteration) / (10 + iteration))
            share = 1 - decay**_AVERAGED_EVERY
            average = tree_map(lambda old, new, share=share: old + share * (new - old), average, trained.parameters())
        mx.eval(trained.state, optimizer.state, average, value)
        recent.append(value.item())
        if rank:
            continue
        if iteration % 50 == 49:
            log(f"step {iteration + 1} loss {np.mean(recent[-100:]):.4f} {time.perf_counter() - start:.0f} s")
        if (iteration + 1) % recipe.checkpoint_every == 0:
            _save(checkpoint, iteration + 1, {"w": trained.parameters(), "o": optimizer.state, "a": average})
    trained.update(average)


def _save(checkpoint: Path, iteration: int, trees: dict[str, Any]) -> None:
    arrays = {"iteration": mx.array(iteration)}
    for letter, tree in trees.items():
        arrays |= {f"{letter}.{name}": array for name, array in tree_flatten(tree)}
    part = checkpoint.with_name("next.safetensors")
    mx.save_safetensors(str(part), arrays)
    part.replace(checkpoint)
