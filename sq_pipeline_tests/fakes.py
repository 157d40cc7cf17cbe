"""Fake engines for unit tests: they keep the ports of the real ones, cost nothing and can be told to misbehave.

Here: a renderer, two meters, a trainer. Not here: anything a test of the real engines needs, or what one test asserts.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import AdapterUse, UpdateSource
from sq_pipeline.adapters.safetensors_file import open_safetensors, write_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.ports import EngineDescription
from sq_pipeline.common.atomic import write_text
from sq_pipeline.common.errors import AdapterError, Fault, RenderError, TrainingError
from sq_pipeline.pictures.ports import AppliedAdapter, RenderedImage, RenderRequest
from sq_pipeline.training.ports import TrainProgress, TrainRequest, TrainResult, ValidationLosses, ValidationRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import TrainerSupport
from sq_pipeline.verification.fidelity import FidelityReport, LayerFidelity, missed
from sq_pipeline.verification.ports import FidelityRequest, LossRequest

Pixels = npt.NDArray[np.uint8]
ADAPTER_MODULES = ("double_blocks.0.img_attn.proj", "single_blocks.0.linear2")
_INPUTS, _OUTPUTS = 6, 4


def _numbers(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


@dataclass
class FakeRenderer:
    """Draws coarse noise for the scene (the prompt's last part between commas) and the seed.

    An adapter's file lays a pattern of its own over it, `lora_scale` strong: only where `trigger` is in the prompt,
    always, or never, as `wakes` says. `keys_ignored` of its keys are not matched: a RenderError, as of the real
    renderer, or only reported where `is_strict` is False. `applied` overrides the report altogether.
    """

    trigger: str = "old_west"
    wakes: Literal["on_trigger", "always", "never"] = "on_trigger"
    keys_ignored: int = 0
    is_strict: bool = True
    applied: tuple[AppliedAdapter, ...] | None = None
    fails_when: Callable[[RenderRequest], bool] = lambda _request: False
    requests: list[RenderRequest] = field(default_factory=list[RenderRequest])
    _loaded: str | None = None
    _model_loads: int = 0

    @property
    def model_loads(self) -> int:
        """How often another base model than the last one was asked for."""
        return self._model_loads

    def describe(self) -> EngineDescription:
        """A fixed description."""
        return EngineDescription("fake-renderer", {"fake": "1"}, "no chip")

    def render(self, request: RenderRequest) -> RenderedImage:
        """One picture of the asked size."""
        self.requests.append(request)
        if request.base_model != self._loaded:
            self._loaded, self._model_loads = request.base_model, self._model_loads + 1
        if self.fails_when(request):
            raise RenderError(Fault("", "", "the fake was told to fail", ""))
        applied = tuple(self._apply(use) for use in request.adapters)
        pixels = self._plain(request)
        for use in request.adapters:
            if self.wakes == "always" or (self.wakes == "on_trigger" and self.trigger in request.positive_prompt):
                pixels = self._overlay(pixels, use)
        return RenderedImage(np.clip(np.round(pixels), 0, 255).astype(np.uint8), 0.0, self._report(applied, request))

    def _report(self, applied: tuple[AppliedAdapter, ...], request: RenderRequest) -> tuple[AppliedAdapter, ...]:
        return self.applied if self.applied is not None and request.adapters else applied

    def _plain(self, request: RenderRequest) -> npt.NDArray[np.float64]:
        scene = request.positive_prompt.rpartition(", ")[2]
        cells = _numbers(scene, request.seed).uniform(40, 215, (request.height_px // 16, request.width_px // 16, 3))
        return cells.repeat(16, axis=0).repeat(16, axis=1)

    def _overlay(self, pixels: npt.NDArray[np.float64], use: AdapterUse) -> npt.NDArray[np.float64]:
        pattern = _numbers(hashlib.sha256(use.path.read_bytes()).hexdigest()).uniform(-60, 60, pixels.shape)
        return pixels + use.lora_scale * pattern

    def _apply(self, use: AdapterUse) -> AppliedAdapter:
        total = len(open_safetensors(use.path).tensors)
        layers = total // 2
        ignored = min(self.keys_ignored, total)
        applied = AppliedAdapter(use.path, use.lora_scale, total - ignored, total, layers - (ignored + 1) // 2, layers)
        if self.is_strict and not applied.is_whole:
            raise RenderError(Fault(str(use.path), "", f"only {total - ignored} of {total} keys matched", "inspect it"))
        return applied


@dataclass
class FakeMeter:
    """Reports for every patch of the source a layer of its own name, off by `relative_error`.

    `misses` of the layers get nothing; `problem`: the loader refuses the file. `error` is raised instead of a report.
    """

    relative_error: float = 1e-6
    misses: int = 0
    problem: str = ""
    error: AdapterError | None = None
    requests: list[FidelityRequest] = field(default_factory=list[FidelityRequest])

    def measure(self, request: FidelityRequest) -> FidelityReport:
        """One report."""
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return fidelity_report(
            *request.source.patches, relative_error=self.relative_error, misses=self.misses, problem=self.problem
        )


def fidelity_report(*slots: str, relative_error: float = 1e-6, misses: int = 0, problem: str = "") -> FidelityReport:
    """A report on layers with the names of these slots, whose updates are of size 1; the first are missed."""
    layers = [
        missed(slot, slot, 1.0)
        if index < misses
        else LayerFidelity(slot, slot, 1.0, 1.0, relative_error, 1 - relative_error)
        for index, slot in enumerate(slots)
    ]
    problems = (problem,) if problem else ()
    return FidelityReport("fake 1", "tiny-flux", "float32", False, None, None, tuple(layers), (), problems)


@dataclass
class FakeValidationMeter:
    """Measures 1 for the base model alone, and for each adapter a loss below it that its file's bytes settle.

    `pairs` None: as many pictures as the rule holds out.
    """

    pairs: int | None = None
    requests: list[ValidationRequest] = field(default_factory=list[ValidationRequest])

    def measure(self, request: ValidationRequest) -> ValidationLosses | None:
        """None where no picture is held out."""
        self.requests.append(request)
        pairs = len(request.plan.validation) if self.pairs is None else self.pairs
        losses = tuple(float(_numbers(use.path.read_bytes(), use.lora_scale).random()) for use in request.adapters)
        return ValidationLosses(1.0, losses, pairs) if pairs else None

    def measure_losses(self, request: LossRequest) -> Sequence[tuple[float, ...]]:
        """1 for the base model, and for each adapter what its numbers and the captions settle, below it."""
        return [
            (1.0, *(self._loss_of(source, scale, captions) for source, scale in request.adapters))
            for captions in request.captions
        ]

    def _loss_of(self, source: UpdateSource, scale: float, captions: tuple[str, ...]) -> float:
        numbers = [source.numbers(patch.up).tobytes() for patch in source.patches.values()]
        return float(_numbers(*numbers, scale, *captions).random())


_FOLLOWS_ALL = TrainerSupport("mlx", frozenset(Recipe.model_fields))


@dataclass
class FakeTrainer:
    """Trains nothing: the loss falls as 1/iteration, and a tiny adapter is written that depends on the request.

    `interrupt_at` and `fail_at` are iterations; `interrupt_while_writing` leaves with half of the tensors written.
    Its checkpoints are JSON files with the identity, the losses and where it was resumed.
    """

    interrupt_at: int | None = None
    fail_at: int | None = None
    interrupt_while_writing: bool = False
    requests: list[TrainRequest] = field(default_factory=list[TrainRequest])
    support: TrainerSupport = _FOLLOWS_ALL

    def describe(self) -> EngineDescription:
        """A fixed description."""
        return EngineDescription("fake-trainer", {"fake": "1"}, "no chip")

    def train(self, request: TrainRequest, on_progress: Callable[[TrainProgress], None]) -> TrainResult:
        """Report every iteration, two seconds each, then write the adapter."""
        self.requests.append(request)
        losses, resumed_at = _fake_checkpoint(request)
        for iteration in range(len(losses) + 1, request.recipe.iterations + 1):
            if iteration == self.interrupt_at:
                raise KeyboardInterrupt
            if iteration == self.fail_at:
                raise TrainingError(Fault("lora.yaml", "learning_rate", "the loss became nan", "lower it"))
            losses.append(1 / iteration)
            on_progress(TrainProgress(iteration, request.recipe.iterations, losses[-1], 2.0 * iteration))
            if request.checkpoints and iteration % request.recipe.checkpoint_interval == 0:
                kept = {"identity": request.checkpoints.identity, "losses": losses, "resumed_at": resumed_at}
                write_text(request.checkpoints.folder / f"{iteration:07d}.safetensors", json.dumps(kept))
        layout = self.layout_for(request)
        metadata = {"lora_rank": str(request.recipe.rank)}
        write_safetensors(request.output_path, self._tensors(request, layout), layout, metadata)
        return TrainResult(tuple(losses), 2.0 * len(losses), 0.0, len(layout), 0, tuple(resumed_at))

    def layout_for(self, request: TrainRequest) -> list[TensorInfo]:
        """Names and shapes of what is written; a test of a whole line of adapters overrides it."""
        return adapter_layout(request.recipe.rank)

    def _tensors(
        self, request: TrainRequest, layout: list[TensorInfo]
    ) -> Iterator[tuple[TensorInfo, npt.NDArray[Any]]]:
        pictures = [hashlib.sha256(example.image_path.read_bytes()).hexdigest() for example in request.examples]
        numbers = _numbers(request.recipe.seed, *pictures, *(example.caption for example in request.examples))
        for index, info in enumerate(layout):
            if self.interrupt_while_writing and index == len(layout) // 2:
                raise KeyboardInterrupt
            yield info, numbers.normal(0, 0.1, info.shape).astype(np.float32).view(np.uint32)


def _fake_checkpoint(request: TrainRequest) -> tuple[list[float], list[int]]:
    """The losses so far, and after which iterations it was resumed; nothing without a checkpoint of this identity."""
    paths = sorted(request.checkpoints.folder.glob("*.safetensors")) if request.checkpoints is not None else []
    if request.checkpoints is None or not paths:
        return [], []
    kept: dict[str, Any] = json.loads(paths[-1].read_text())
    if kept["identity"] != request.checkpoints.identity:
        return [], []
    return kept["losses"], [*kept["resumed_at"], len(kept["losses"])]


def adapter_layout(rank: int) -> list[TensorInfo]:
    """Names and shapes of the fake trainer's adapter, in mlx-examples' dialect."""
    return [
        TensorInfo(f"{module}.{matrix}", "F32", shape)
        for module in ADAPTER_MODULES
        for matrix, shape in (("lora_a", (_INPUTS, rank)), ("lora_b", (rank, _OUTPUTS)))
    ]
