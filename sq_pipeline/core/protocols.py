"""What a stage asks of an engine: three small protocols with frozen requests. Not here: any engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from sq_pipeline.core.adapter_form import Matrix, Patch
from sq_pipeline.core.base_models import BaseModel
from sq_pipeline.core.fidelity import FidelityReport
from sq_pipeline.core.recipe import Recipe
from sq_pipeline.core.thresholds import Dtype


@dataclass(frozen=True)
class EngineDescription:
    """Who does the work. `versions` (mlx, mflux, the engine's own) enters fingerprints; `chip` only provenance."""

    name: str
    versions: Mapping[str, str]
    chip: str


@dataclass(frozen=True)
class TrainingExample:
    """One image file and its caption."""

    image_path: Path
    caption: str


@dataclass(frozen=True)
class CheckpointPlace:
    """Where a training leaves its checkpoints, kept adapters and samples, and what they are of.

    `identity` is a hash of everything that settles the result; what is of another identity is never continued.
    """

    folder: Path
    identity: str


@dataclass(frozen=True)
class TrainRequest:
    """Everything a training depends on. `output_path` gets the MLX adapter, whole or not at all.

    With `checkpoints`, a training that was cut off is continued, adapters are kept to choose among, and
    `sample_prompts` are drawn at the recipe's intervals; who asked removes the folder when all of that is safe.
    """

    base_model: str
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    output_path: Path
    checkpoints: CheckpointPlace | None = None
    sample_prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainProgress:
    """One finished iteration. `loss` is that iteration's (mean over its batch).

    `elapsed_s` counts what was trained before a resume too. `held_out_loss` is there where it was just measured,
    `sample` (a PNG in the checkpoints' folder) where one was just drawn. None where a trainer does not know a thing.
    """

    iteration: int
    iterations: int
    loss: float
    elapsed_s: float
    memory_bytes: int | None = None
    held_out_loss: float | None = None
    sample: Path | None = None

    @property
    def remaining_s(self) -> float:
        """Time left at the mean pace so far, seconds."""
        return self.elapsed_s / max(self.iteration, 1) * (self.iterations - self.iteration)

    @property
    def iterations_per_s(self) -> float:
        """The mean pace so far."""
        return self.iteration / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class KeptAdapter:
    """An adapter as it was after `iteration`, at `path` (in the checkpoints' folder, or the request's output)."""

    iteration: int
    path: Path


@dataclass(frozen=True)
class TrainResult:
    """`losses` has one entry an iteration that the trainer told of; `tensors` counts what the adapter file holds.

    `resumed_at`: after which iterations the training was continued from a checkpoint. `wall_s` counts the earlier parts
    up to their checkpoints, `encode_s` and `peak_memory_bytes` are the last part's. `held_out` and `samples` are by
    iteration, `kept` ends with the final adapter. `settings` are what was picked for this machine.
    """

    losses: tuple[float, ...]
    wall_s: float
    encode_s: float
    tensors: int
    peak_memory_bytes: int
    resumed_at: tuple[int, ...] = ()
    held_out: tuple[tuple[int, float], ...] = ()
    kept: tuple[KeptAdapter, ...] = ()
    samples: tuple[tuple[int, Path], ...] = ()
    settings: Mapping[str, str | int | bool] = field(default_factory=dict[str, str | int | bool])


class Trainer(Protocol):
    """Trains one LoRA and writes the file that mlx-examples' FLUX.1 trainer writes."""

    def describe(self) -> EngineDescription: ...

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Train; raises TrainingError. KeyboardInterrupt passes through and leaves nothing at `output_path`.

        Continued from a checkpoint, it writes the bytes that it would have written undisturbed (on one machine).
        """
        ...


@dataclass(frozen=True)
class AdapterUse:
    """An adapter file (mflux dialect) and the strength it is applied with."""

    path: Path
    lora_scale: float


@dataclass(frozen=True)
class RenderRequest:
    """One picture. Sizes are pixels, multiples of 16. `adapters` are applied in order.

    `clip_prompt`: what FLUX.1's CLIP reads in place of `positive_prompt`, which then goes to T5 alone. `tier` makes no
    difference to the pixels; it is for those who watch.
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


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of a prompt, end marks included, and how many of them the base model's `encoder` reads.

    FLUX.1's is T5, and it reads a pooled vector through CLIP besides; `clip` and its budget are None for other models.
    """

    encoder: Literal["T5", "Qwen3"]
    tokens: int
    budget: int
    clip: int | None = None
    clip_budget: int | None = None

    @property
    def fits(self) -> bool:
        """True when no encoder cuts anything off."""
        return self.tokens <= self.budget and not self.is_cut_by_clip

    @property
    def is_cut_by_clip(self) -> bool:
        """True when there is a CLIP that sees the beginning only."""
        return self.clip is not None and self.clip_budget is not None and self.clip > self.clip_budget

    def as_json(self) -> dict[str, int]:
        """Counts and budgets, each under the name of its encoder: `t5_tokens`, `clip_budget`, `qwen3_tokens`."""
        name = self.encoder.lower()
        found: dict[str, int] = {f"{name}_tokens": self.tokens, f"{name}_budget": self.budget}
        if self.clip is not None and self.clip_budget is not None:
            found |= {"clip_tokens": self.clip, "clip_budget": self.clip_budget}
        return found


class TokenCounter(Protocol):
    """Counts with a base model's own tokenizers. Cheap: loads no weights."""

    def count_tokens(self, text: str) -> TokenCounts: ...


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


class UpdateSource(Protocol):
    """What an adapter is meant to add, with its numbers at hand (see `core.adapter_form`)."""

    @property
    def patches(self) -> Mapping[str, Patch]:
        """The updates, by slot."""
        ...

    def numbers(self, matrix: Matrix) -> npt.NDArray[np.float32]:
        """A matrix's numbers, (rows, columns)."""
        ...


@dataclass(frozen=True)
class FidelityRequest:
    """One adapter file against what it is meant to add. Unbaked, the mode that pictures are rendered in, by default.

    `dtype` None: what the renderer computes in on this machine. `bits`: baked into weights stored at so many bits,
    those of the base model where it is quantized itself.
    """

    base_model: BaseModel
    adapter: AdapterUse
    source: UpdateSource
    is_baked: bool = False
    dtype: Dtype | None = None
    bits: Literal[4, 8] | None = None


class FidelityMeter(Protocol):
    """Measures what one loader really applies of an adapter. Needs no base model's weights, unless it bakes."""

    def measure(self, request: FidelityRequest) -> FidelityReport:
        """Every layer, one after the other; a file that the loader refuses is a report with a problem.

        Raises AdapterError for a file that cannot be read, ValueError for `bits` without a bake, or not the model's.
        """
        ...


@dataclass(frozen=True)
class HeldOutRequest:
    """Adapters to be compared by their loss on the pictures that a training held out, at fixed noise and times.

    `adapters` are MLX adapters as trained, each with a scale; the base model alone is always measured too.
    """

    base_model: str
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    adapters: tuple[AdapterUse, ...]


@dataclass(frozen=True)
class HeldOutLosses:
    """`base` without any adapter; `losses` in the request's order. `pairs` is how many pictures were held out."""

    base: float
    losses: tuple[float, ...]
    pairs: int


class HeldOutMeter(Protocol):
    """Measures the held-out loss of adapters, whoever trained them."""

    def measure(self, request: HeldOutRequest) -> HeldOutLosses | None:
        """None where no picture is held out, or the base model's family has no such measure.

        Raises BaseModelError, AdapterError.
        """
        ...
