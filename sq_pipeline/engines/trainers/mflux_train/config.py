"""A recipe as `mflux-train`'s configuration (mflux 0.24.0, `mflux/models/common/training/state/training_spec.py`), or
what of it does not fit the base model and the dataset.

Its training is the recipe's: Adam with warmup and cosine, noise times drawn evenly from the model's own schedule. It
counts in epochs and stops at an epoch's end, or at a checkpoint if it is stopped there: `plan_checkpoints`.
Not here: what it cannot do at all (`mflux_train.support`), the pictures (`mflux_train.pictures`), running it
(`mflux_train.trainer`).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sq_pipeline.base_models.base_models import BaseModel, QwenModel
from sq_pipeline.common.errors import Fault
from sq_pipeline.engines.mflux.families import FAMILIES, shapes_of
from sq_pipeline.engines.trainers.mflux_train.support import SUPPORT
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.plan import TrainingPlan
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import RECIPE_FILE, unsupported_faults

DATA, RUN = "data", "run"
_MANY_PICTURES = 256  # more of them are kept on disk: a prompt's encoding is 8 MB in FLUX.2


@dataclass(frozen=True)
class CheckpointPlan:
    """A checkpoint every `interval` iterations; `kept` are those whose adapters are kept, the last one included."""

    interval: int
    kept: tuple[int, ...]


def trained_modules(base_model: QwenModel, recipe: Recipe) -> tuple[str, ...]:
    """The layers, by mflux's names, that a recipe trains."""
    trained = re.compile(FAMILIES[base_model.family].trained)
    return tuple(path for path in shapes_of(base_model) if trained.fullmatch(path) and recipe.covers(path))


def check_plan(plan: TrainingPlan) -> Iterator[Fault]:
    """What mflux-train would refuse of a plan."""
    base_model = plan.base_model
    if not isinstance(base_model, QwenModel):
        yield family_fault(base_model)
        return
    yield from unsupported_faults(plan.recipe, SUPPORT)
    yield from faults_of(plan.recipe, base_model, len(plan.trained) * plan.crops.num_augmentations)


def family_fault(base_model: BaseModel) -> Fault:
    """The fault of a base model of another family than those that mflux-train trains."""
    problem = f"mflux-train trains Z-Image and FLUX.2, not {base_model.name}"
    return Fault(RECIPE_FILE, "trainer", problem, "use `trainer: mlx`")


def faults_of(recipe: Recipe, base_model: QwenModel, pictures: int) -> list[Fault]:
    """Every value that does not fit base model and dataset, by its field. `pictures`: how many are trained on."""
    return [
        Fault(RECIPE_FILE, field, problem, hint) for field, problem, hint in _problems(recipe, base_model, pictures)
    ]


def _problems(recipe: Recipe, base_model: QwenModel, pictures: int) -> Iterator[tuple[str, str, str]]:
    known = trained_modules(base_model, recipe.model_copy(update={"modules": ("*",)}))
    for index, pattern in enumerate(recipe.modules):
        if not any(fnmatchcase(path, pattern) for path in known):
            hint = f"name some as mflux does, such as {known[0]}"
            yield f"modules[{index}]", f"{pattern!r} is no module that mflux-train trains of {base_model.name}", hint
    if plan_checkpoints(recipe, pictures) is None:
        step = _aligned(recipe)
        problem = f"mflux-train is stopped at a checkpoint, and none falls on iteration {recipe.iterations}"
        yield "iterations", problem, f"make it a multiple of {step}"


def _aligned(recipe: Recipe) -> int:
    """The largest number of whole optimizer steps in a checkpoint interval, in iterations."""
    accumulated = recipe.grad_accumulation
    return max(accumulated, recipe.checkpoint_interval // accumulated * accumulated)


def steps_per_epoch(recipe: Recipe, pictures: int) -> int:
    """Iterations in which mflux-train sees every picture once."""
    return math.ceil(pictures / recipe.batch_size)


def plan_checkpoints(recipe: Recipe, pictures: int) -> CheckpointPlan | None:
    """When checkpoints are due: between optimizer steps, which a resumed training could not continue in the middle of.

    None where no interval near the recipe's has its last one at the last iteration.
    """
    at_an_end = recipe.iterations % steps_per_epoch(recipe, pictures) == 0  # mflux-train ends there by itself
    most = min(_aligned(recipe), recipe.iterations)
    fitting = [
        interval
        for interval in range(recipe.grad_accumulation, most + 1, recipe.grad_accumulation)
        if at_an_end or recipe.iterations % interval == 0
    ]
    if not fitting and at_an_end:
        fitting = [recipe.iterations]
    if not fitting or 5 * fitting[-1] < most:
        return None
    interval = fitting[-1]
    nearest = {max(interval, round(wanted / interval) * interval) for wanted in recipe.kept_iterations()[:-1]}
    kept = sorted({iteration for iteration in nearest if iteration < recipe.iterations} | {recipe.iterations})
    return CheckpointPlan(interval, tuple(kept))


def write_config(
    plan: TrainingPlan,
    base_model: QwenModel,
    settings: TrainingSettings,
    folder: Path,
    pictures: int,
    interval: int,
    samples: bool,
) -> dict[str, Any]:
    """The configuration. `folder` holds the base model's files, a checkpoint is due every `interval` iterations; paths
    of the training are relative to where it runs.

    Losses are told only where pictures are drawn, so at least one is, before the first iteration.
    """
    recipe = plan.recipe
    never = 2 * recipe.iterations + 1
    return {
        "model": base_model.mflux_name,
        "model_path": str(folder),
        "data": DATA,
        "seed": recipe.seed,
        "steps": base_model.num_inference_steps,
        "guidance": 0.0 if base_model.guidance is None else base_model.guidance,
        "quantize": None if settings.base_bits == 16 else settings.base_bits,
        "low_ram": pictures > _MANY_PICTURES,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "training_loop": {
            "num_epochs": math.ceil(recipe.iterations / steps_per_epoch(recipe, pictures)),
            "batch_size": recipe.batch_size,
        },
        "optimizer": {
            "name": "Adam",
            "learning_rate": recipe.learning_rate,
            "lr_schedule": "cosine",
            "lr_warmup_steps": recipe.warmup_steps,
            "lr_total_steps": math.ceil(recipe.iterations / recipe.grad_accumulation),
            "gradient_accumulation_steps": recipe.grad_accumulation,
        },
        "checkpoint": {"save_frequency": interval, "output_path": RUN},
        "monitoring": {
            "preview_width": plan.size.width_px,
            "preview_height": plan.size.height_px,
            "plot_frequency": never,  # the losses of a batch at fixed times would cost ten more passes each
            "generate_image_frequency": recipe.sample_interval if samples else never,
        },
        "lora_layers": {
            "targets": [{"module_path": path, "rank": recipe.rank} for path in trained_modules(base_model, recipe)]
        },
    }
