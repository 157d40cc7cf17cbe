"""Scoring every kept checkpoint of a training at a few scales: pictures through the renderer, validation losses.

Not here: the measure and the rule (`training.checkpoint_scores`), the table and the grid (`checkpoint_report`).
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.tiers import Tier
from sq_pipeline.pictures.ports import Renderer, RenderRequest
from sq_pipeline.pipeline.adapters.kept_checkpoints import ScoredPrompts
from sq_pipeline.training.checkpoint_scores import CONTROL_PROMPTS, CheckpointScore, measure_separation
from sq_pipeline.training.ports import TrainingExample, ValidationLosses, ValidationMeter, ValidationRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.camera import with_word
from sq_pipeline.verification.ssim import ssim

Pixels = npt.NDArray[np.uint8]
OnPicture = Callable[[int, int], None]  # pictures done, pictures in all


@dataclass(frozen=True)
class ScoringRequest:
    """What is scored and how: `checkpoints` are adapters as trained, by iteration; pictures have the training's size.

    Without `reading` and `keymap` mflux loads them as they are.
    """

    checkpoints: Mapping[int, Path]
    lora_scales: Sequence[float]
    prompts: ScoredPrompts
    trigger: str | None
    base_model: BaseModel
    keymap: Keymap | None
    reading: Keymap | None
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    tier: Tier


@dataclass(frozen=True)
class ScoredCell:
    """A checkpoint at a scale: its score, and its pictures of the prompts, `(height, width, 3)` uint8 each."""

    score: CheckpointScore
    pictures: tuple[Pixels, ...]


@dataclass(frozen=True)
class CheckpointScores:
    """All cells, by rising iteration and scale; the base model's pictures and validation loss."""

    cells: tuple[ScoredCell, ...]
    without_adapter: tuple[Pixels, ...]
    base_loss: float | None
    validation_pairs: int
    wall_s: float

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values, without the time they took."""
        return {
            "scores": [cell.score.as_json() for cell in self.cells],
            "base_loss": self.base_loss,
            "validation_pairs": self.validation_pairs,
        }


def score_checkpoints(
    request: ScoringRequest, renderer: Renderer, meter: ValidationMeter, on_picture: OnPicture | None = None
) -> CheckpointScores:
    """Render, measure and score; raises AdapterError, BaseModelError, RenderError.

    Four pictures of different prompts and one of the control word for each cell, four of the base model; one swap of
    adapters a cell.
    """
    start = time.perf_counter()
    cells = [(iteration, scale) for iteration in sorted(request.checkpoints) for scale in sorted(request.lora_scales)]
    losses = _measure_losses(request, meter, cells)
    render = _renderer_of(request, renderer, on_picture, len(cells))
    words = request.prompts.prompts
    without = tuple(render(with_word(request.trigger, prompt), None) for prompt in words)
    scored: list[ScoredCell] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (iteration, scale) in enumerate(cells):
            use = AdapterUse(_loadable(request, iteration, Path(folder)), scale)
            pictures = tuple(render(with_word(request.trigger, prompt), use) for prompt in words)
            controls = [
                render(with_word(request.prompts.control_word, prompt), use)
                for prompt in (words[:CONTROL_PROMPTS] if request.trigger else ())
            ]
            score = CheckpointScore(
                iteration=iteration,
                lora_scale=scale,
                validation_loss=None if losses is None else losses.losses[number],
                change=_mean_change(without, pictures),
                trigger_change=_mean_change(pictures, controls) if controls else None,
                separation=measure_separation(pictures, without),
            )
            scored.append(ScoredCell(score, pictures))
    base_loss, pairs = (None, 0) if losses is None else (losses.base, losses.pairs)
    return CheckpointScores(tuple(scored), without, base_loss, pairs, time.perf_counter() - start)


def _loadable(request: ScoringRequest, iteration: int, folder: Path) -> Path:
    """The checkpoint under the names that mflux loads, remapped into `folder` where that is needed."""
    source = request.checkpoints[iteration]
    if request.keymap is None or request.reading is None:
        return source
    remapped = folder / f"{iteration:07d}.safetensors"
    if not remapped.exists():
        remap_adapter(source, remapped, request.keymap, request.base_model, reading=request.reading)
    return remapped


def _measure_losses(
    request: ScoringRequest, meter: ValidationMeter, cells: Sequence[tuple[int, float]]
) -> ValidationLosses | None:
    uses = tuple(AdapterUse(request.checkpoints[iteration], scale) for iteration, scale in cells)
    return meter.measure(ValidationRequest(request.base_model.name, request.examples, request.recipe, uses))


def _renderer_of(
    request: ScoringRequest, renderer: Renderer, on_picture: OnPicture | None, cells: int
) -> Callable[[str, AdapterUse | None], Pixels]:
    model, size = request.base_model, request.base_model.training_size
    prompts = len(request.prompts.prompts)
    controls = min(CONTROL_PROMPTS, prompts) if request.trigger else 0
    done, total = 0, prompts + cells * (prompts + controls)

    def render(text: str, use: AdapterUse | None) -> Pixels:
        nonlocal done
        image = renderer.render(
            RenderRequest(
                base_model=model.name,
                positive_prompt=text,
                seed=request.prompts.seed,
                num_inference_steps=model.num_inference_steps,
                width_px=size.width_px,
                height_px=size.height_px,
                guidance=model.guidance,
                adapters=() if use is None else (use,),
                tier=request.tier,
                must_be_whole=False,  # the verification judges that
            )
        )
        done += 1
        if on_picture is not None:
            on_picture(done, total)
        return image.pixels

    return render


def _mean_change(first: Sequence[Pixels], second: Sequence[Pixels]) -> float:
    """Mean of 1 − SSIM over the pairs that both have."""
    return float(np.mean([1 - ssim(one, other) for one, other in zip(first, second, strict=False)]))
