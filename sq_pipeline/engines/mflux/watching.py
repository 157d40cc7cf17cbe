"""Telling of mflux's steps as they are done, through the callbacks that its models call in their loops."""

from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx
from mflux.callbacks.callback_registry import CallbackRegistry
from mflux.models.common.config.config import Config

from sq_pipeline.pictures.ports import OnStep


class _StepWatcher:
    """What mflux calls in its loop. The step is finished first, so that `on_step` tells of work that is done."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def call_in_loop(self, t: int, latents: mx.array, config: Config, **_: object) -> None:
        """After step `t`, counted from 0."""
        mx.eval(latents)
        self._on_step(t + 1, config.num_inference_steps)


@contextmanager
def watching(callbacks: CallbackRegistry, on_step: OnStep | None) -> Iterator[None]:
    """While the block runs, `on_step` is called after every step; what it raises ends the picture, as it is."""
    if on_step is None:
        yield
        return
    watcher = _StepWatcher(on_step)
    callbacks.register(watcher)
    try:
        yield
    finally:
        callbacks.in_loop.remove(watcher)
