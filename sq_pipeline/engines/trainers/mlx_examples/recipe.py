"""A recipe in the words of mlx-examples' `flux/dreambooth.py`, and what of it mlx-examples cannot do. Runs nothing.

It warms up over `warmup_steps` and then decays over iterations / grad_accumulation more steps, so its learning rate
ends above zero; its seed is written into it, and drawing samples takes numbers from the same sequence.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel, SizePx
from sq_pipeline.common.errors import Fault
from sq_pipeline.engines.trainers.mlx_examples.output import REPORT_INTERVAL
from sq_pipeline.engines.trainers.mlx_examples.weights import REPOSITORIES
from sq_pipeline.training.ports import TrainRequest
from sq_pipeline.training.recipe import Recipe

_MODELS = {"flux1-dev": "dev", "flux1-schnell": "schnell"}
_INSTEAD = "remove it, or use `trainer: mlx`"
_CROP_MIN = 0.8


def check_recipe(recipe: Recipe, base_model: BaseModel, pairs: int) -> list[Fault]:
    """Everything that mlx-examples cannot do with `pairs` pictures, by the recipe's field."""
    found = [Fault("lora.yaml", field, problem, mend) for field, problem, mend in _unknown_to_it(recipe)]
    found += [Fault("lora.yaml", field, problem, mend) for field, problem, mend in _out_of_range(recipe)]
    if base_model.name not in REPOSITORIES:
        problem = f"mlx-examples does not train {base_model.name}"
        found.append(Fault("lora.yaml", "base_model", problem, f"use {' or '.join(_MODELS)}, or `trainer: mlx`"))
    views = pairs * recipe.num_augmentations
    # the guidance of its last, smaller batch would be of another length than the batch
    if base_model.guidance is not None and views % recipe.batch_size and recipe.iterations > views // recipe.batch_size:
        problem = f"mlx-examples needs whole batches: {views} views (pictures × num_augmentations)"
        mend = f"take one that divides {views}, such as {math.gcd(views, recipe.batch_size)}"
        found.append(Fault("lora.yaml", "batch_size", f"{problem} are no multiple of {recipe.batch_size}", mend))
    return found


def _unknown_to_it(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    refused = {
        "alpha": recipe.scale != 1 and "alpha other than the rank",
        "modules": recipe.modules != ("*",) and "choice of modules",
        "aspect_buckets": recipe.aspect_buckets and "aspect buckets",
        "crop_min": recipe.crop_min != _CROP_MIN and f"smallest crop other than {_CROP_MIN}",
        "flip": recipe.flip and "mirroring",
        "caption_dropout": recipe.caption_dropout > 0 and "caption dropout",
        "prior_mix": recipe.prior_mix > 0 and "prior pictures",
        "base_bits": recipe.base_bits in (8, 4) and "quantized base model",
        "gradient_checkpointing": recipe.gradient_checkpointing is True and "gradient checkpointing in its training",
        "seed": recipe.seed != 0 and "choice of a seed",
        "sample_prompts": len(recipe.sample_prompts) > 1 and "samples of more than one prompt",
    }
    for field, what in refused.items():
        if what:
            yield field, f"mlx-examples has no {what}", _INSTEAD


def _out_of_range(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    least = max(REPORT_INTERVAL, recipe.grad_accumulation)
    if recipe.iterations < least:
        yield "iterations", f"mlx-examples needs at least {least} with this grad_accumulation", f"write {least} or more"
    if recipe.warmup_steps < 1:
        yield "warmup_steps", "mlx-examples needs a warmup", "write 1 or more"


def training_size(recipe: Recipe, base_model: BaseModel) -> SizePx:
    """The one size that all pictures are cut to."""
    return base_model.training_size if recipe.resolution is None else SizePx(*recipe.resolution)


def checkpoint_every(recipe: Recipe, *, is_kept: bool) -> int:
    """How many iterations apart adapters are saved, so that all that are to be kept are among them.

    That is the recipe's checkpoint interval where it fits; the last iteration is always among them.
    """
    kept = recipe.kept_iterations() if is_kept else (recipe.iterations,)
    common = math.gcd(*kept)
    return recipe.checkpoint_interval if common % recipe.checkpoint_interval == 0 else common


def arguments(request: TrainRequest, base_model: BaseModel, dataset: Path, output: Path) -> list[str]:
    """The command line of `dreambooth.py`, without Python and the script.

    Samples are of the first of the request's prompts. It always draws once before it trains: without prompts, in one
    step, of the first caption.
    """
    recipe, size = request.recipe, training_size(request.recipe, base_model)
    prompts = request.sample_prompts
    values = {
        "model": _MODELS[base_model.name],
        "guidance": repr(recipe.guidance),
        "iterations": recipe.iterations,
        "batch-size": recipe.batch_size,
        "resolution": f"{size.width_px}x{size.height_px}",
        "num-augmentations": recipe.num_augmentations,
        "progress-prompt": prompts[0] if prompts else request.examples[0].caption,
        "progress-steps": base_model.num_inference_steps if prompts else 1,
        "progress-every": recipe.sample_interval if prompts else recipe.iterations + 1,
        "checkpoint-every": checkpoint_every(recipe, is_kept=request.checkpoints is not None),
        "lora-blocks": -1,
        "lora-rank": recipe.rank,
        "warmup-steps": recipe.warmup_steps,
        "learning-rate": repr(recipe.learning_rate),
        "grad-accumulate": recipe.grad_accumulation,
        "output-dir": output,
    }
    return [*(f"--{name}={value}" for name, value in values.items()), str(dataset)]
