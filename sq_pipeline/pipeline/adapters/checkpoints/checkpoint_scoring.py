"""Scoring every kept checkpoint of a training: the gate's pictures and measures, and validation losses.

Not here: the rule (`training.checkpoint_scores`), the table and the grid (`checkpoint_report`).
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.adapters.keymap import Keymap
from sq_pipeline.adapters.remap.remap import remap_adapter
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.processes.progress import progress_of
from sq_pipeline.pictures.ports import Renderer
from sq_pipeline.training.checkpoint_scores import CheckpointScore
from sq_pipeline.training.ports import TrainingExample, ValidationLosses, ValidationMeter, ValidationRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.camera import Camera, OnPicture, Pictures
from sq_pipeline.verification.look import style_target
from sq_pipeline.verification.measures.style import StyleTarget
from sq_pipeline.verification.measures.subject import subject_kept
from sq_pipeline.verification.measures.trigger import share_without_trigger
from sq_pipeline.verification.prompts import VerifyPrompts
from sq_pipeline.verification.reference import Reference
from sq_pipeline.verification.ssim import ssim


@dataclass(frozen=True)
class ScoringRequest:
    """What is scored and how: `checkpoints` are adapters as trained, by iteration.

    Without `reading` and `keymap` mflux loads them as they are. `reference`: the pictures that they were trained on.
    """

    checkpoints: Mapping[int, Path]
    prompts: VerifyPrompts
    trigger: str | None
    base_model: BaseModel
    keymap: Keymap | None
    reading: Keymap | None
    examples: tuple[TrainingExample, ...]
    recipe: Recipe
    tier: str
    reference: Reference


@dataclass(frozen=True)
class ScoredCheckpoint:
    """A checkpoint's score, and its pictures of the prompts, `(height, width, 3)` uint8 each."""

    score: CheckpointScore
    pictures: Pictures


@dataclass(frozen=True)
class CheckpointScores:
    """All of them, by rising iteration; the base model's pictures and validation loss; some of the dataset's pictures,
    none where its style is not asked for.
    """

    checkpoints: tuple[ScoredCheckpoint, ...]
    base: Pictures
    dataset: Pictures
    base_loss: float | None
    validation_pairs: int
    wall_s: float

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values, without the time they took."""
        return {
            "scores": [each.score.as_json() for each in self.checkpoints],
            "base_loss": self.base_loss,
            "validation_pairs": self.validation_pairs,
        }


def score_checkpoints(
    request: ScoringRequest, renderer: Renderer, meter: ValidationMeter, on_picture: OnPicture | None = None
) -> CheckpointScores:
    """Render, measure and score; raises AdapterError, BaseModelError, RenderError.

    The pictures are those that the verification of a checkpoint asks for first, with the same prompts, seeds, size and
    strength: with a renderer that keeps them, it renders none of them again.
    """
    sets = (1 + len(request.checkpoints)) * (2 if request.recipe.trigger_required else 1)
    sets += 2 * request.reference.is_style  # what a style is held against
    with progress_of("choosing a checkpoint", sets * len(request.prompts.prompts)) as progress:

        def on_each(done: int) -> None:
            progress.reach(done)
            if on_picture is not None:
                on_picture(done)

        return _score(request, meter, Camera(request.base_model, request.tier, request.prompts, renderer, on_each))


def _score(request: ScoringRequest, meter: ValidationMeter, camera: Camera) -> CheckpointScores:
    start = time.perf_counter()
    losses = _measure_losses(request, meter)
    base, target = camera.base(request.trigger), _target(request, camera)
    scored: list[ScoredCheckpoint] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, iteration in enumerate(sorted(request.checkpoints)):
            use = AdapterUse(_loadable(request, iteration, Path(folder)), 1.0)
            pictures = camera.styled(use, request.trigger)
            style = None if target is None else target.measure(pictures, base)
            is_told = style is not None and bool(style.counting)  # a faint one the loss has to tell
            score = CheckpointScore(
                iteration=iteration,
                validation_loss=None if losses is None else losses.losses[number],
                change=1 - max(ssim(one, other) for one, other in zip(base, pictures, strict=True)),
                subject_kept=subject_kept(pictures, base) if len(base) > 1 else None,
                style_share=style.share if style is not None and is_told else None,
                style_direction=style.direction if style is not None and is_told else None,
                style_distance=None if style is None else style.distance,
                trigger_effect=_trigger_effect(request, camera, use),
            )
            scored.append(ScoredCheckpoint(score, pictures))
    dataset = () if target is None else request.reference.read(camera.size)[: len(base)]
    base_loss, pairs = (None, 0) if losses is None else (losses.base, losses.pairs)
    return CheckpointScores(tuple(scored), base, dataset, base_loss, pairs, time.perf_counter() - start)


def _target(request: ScoringRequest, camera: Camera) -> StyleTarget | None:
    """What a style's pictures look like; None for a subject, and where there are too few pictures to say."""
    found = style_target(request.reference, camera) if request.reference.is_style else ""
    return None if isinstance(found, str) else found


def _trigger_effect(request: ScoringRequest, camera: Camera, use: AdapterUse) -> float | None:
    """Only where the recipe asks for it: it takes a second set of pictures."""
    if request.trigger is None or not request.recipe.trigger_required:
        return None
    word = camera.prompts.control_word
    return 1 - share_without_trigger(
        camera.base(request.trigger), camera.styled(use, request.trigger), camera.base(word), camera.styled(use, word)
    )


def _loadable(request: ScoringRequest, iteration: int, folder: Path) -> Path:
    """The checkpoint under the names that mflux loads, remapped into `folder` where that is needed."""
    source = request.checkpoints[iteration]
    if request.keymap is None or request.reading is None:
        return source
    remapped = folder / f"{iteration:07d}.safetensors"
    remap_adapter(source, remapped, request.keymap, request.base_model, reading=request.reading)
    return remapped


def _measure_losses(request: ScoringRequest, meter: ValidationMeter) -> ValidationLosses | None:
    uses = tuple(AdapterUse(request.checkpoints[iteration], 1.0) for iteration in sorted(request.checkpoints))
    return meter.measure(ValidationRequest(request.base_model.name, request.examples, request.recipe, uses))
