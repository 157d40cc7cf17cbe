"""A recipe in the words of mlx-examples' `flux/dreambooth.py`, and what of it does not fit base model and
dataset. Runs nothing.

It warms up over `warmup_steps` and then decays over iterations / grad_accumulation more steps, so its learning rate
ends above zero; its seed is written into it, and drawing samples takes numbers from the same sequence.
Not here: what it cannot do at all (`mlx_examples.support`).
"""

import math
from pathlib import Path

from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import Fault
from sq_pipeline.training.ports import TrainRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import RECIPE_FILE

_MODELS = {"flux1-dev": "dev", "flux1-schnell": "schnell"}


def check_recipe(recipe: Recipe, base_model: BaseModel, pairs: int) -> list[Fault]:
    """Every value that does not fit the base model, or `pairs` pictures to train on, by the recipe's field."""
    found: list[Fault] = []
    if base_model.name not in _MODELS:
        problem = f"mlx-examples does not train {base_model.name}"
        found.append(Fault(RECIPE_FILE, "base_model", problem, f"use {' or '.join(_MODELS)}, or `trainer: mlx`"))
    crops = pairs * recipe.num_augmentations
    # the guidance of its last, smaller batch would be of another length than the batch
    if base_model.guidance is not None and crops % recipe.batch_size and recipe.iterations > crops // recipe.batch_size:
        problem = f"mlx-examples needs whole batches: {crops} crops (pictures × num_augmentations)"
        hint = f"take one that divides {crops}, such as {math.gcd(crops, recipe.batch_size)}"
        found.append(Fault(RECIPE_FILE, "batch_size", f"{problem} are no multiple of {recipe.batch_size}", hint))
    return found


def checkpoint_every(recipe: Recipe, *, is_kept: bool) -> int:
    """How many iterations apart adapters are saved, so that all that are to be kept are among them.

    That is the recipe's checkpoint interval where it fits; the last iteration is always among them.
    """
    kept = recipe.kept_iterations() if is_kept else (recipe.iterations,)
    common = math.gcd(*kept)
    return recipe.checkpoint_interval if common % recipe.checkpoint_interval == 0 else common


def arguments(request: TrainRequest, dataset: Path, output: Path) -> list[str]:
    """The command line of `dreambooth.py`, without Python and the script.

    Samples are of the first of the request's prompts. It always draws once before it trains: without prompts, in one
    step, of the first caption.
    """
    recipe, base_model, size = request.recipe, request.plan.base_model, request.plan.size
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
