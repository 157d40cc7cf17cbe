"""What is asked of a renderer, and what it gives back. Not here: any engine, nor the one door to it (`rendering`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.base_models.ports import EngineDescription


@dataclass(frozen=True)
class RenderRequest:
    """One picture. Sizes are pixels, multiples of 16. `adapters` are applied in order.

    `clip_prompt`: what FLUX.1's CLIP reads in place of `positive_prompt`, which then goes to T5 alone. `tier` makes no
    difference to the pixels; it is for those who watch. `must_be_whole` False: who asks judges itself what was applied
    (a verification), and a picture comes back also where an adapter matched nothing.
    """

    base_model: str
    positive_prompt: str
    seed: int
    num_inference_steps: int
    width_px: int
    height_px: int
    guidance: float | None
    adapters: tuple[AdapterUse, ...] = ()
    negative_prompt: str | None = None
    clip_prompt: str | None = None
    tier: str = "landscape"
    must_be_whole: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class AppliedAdapter:
    """What the renderer's loader really did with one adapter."""

    path: Path
    lora_scale: float
    keys_matched: int
    keys_total: int
    layers_patched: int
    layers_expected: int

    @property
    def is_whole(self) -> bool:
        """True when every key was matched and every expected layer patched."""
        return 0 < self.keys_total == self.keys_matched and self.layers_patched == self.layers_expected


@dataclass(frozen=True)
class RenderedImage:
    """`pixels`: `(height, width, 3)` uint8, 0–255. `rendered_by`: in which process, for provenance."""

    pixels: npt.NDArray[np.uint8]
    elapsed_s: float
    applied: tuple[AppliedAdapter, ...] = field(default=())
    rendered_by: str = "in process"


class Renderer(Protocol):
    """Renders pictures; keeps one base model loaded for as long as it is the one asked for."""

    @property
    def model_loads(self) -> int:
        """How many times a base model was loaded since this renderer was made."""
        ...

    def describe(self) -> EngineDescription: ...

    def render(self, request: RenderRequest) -> RenderedImage:
        """Render one picture; raises RenderError when an adapter is not applied whole."""
        ...


OnStep = Callable[[int, int], None]


class WatchedRenderer(Renderer, Protocol):
    """A renderer that can be watched and stopped while it works, for a server that holds it warm."""

    def render(self, request: RenderRequest, on_step: OnStep | None = None) -> RenderedImage:
        """As `Renderer.render`; `on_step(done, steps)` is called after every step, what it raises ends the picture."""
        ...

    def figures(self) -> Mapping[str, int]:
        """What it did since it was made: `model_loads`, `stack_swaps`, `adapter_reads`; and `ready_bytes` now."""
        ...

    def close(self) -> None:
        """Let go of everything; called last, in the thread that rendered."""
        ...
