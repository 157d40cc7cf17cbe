"""What mlx-examples supports of a recipe. Not here: what hangs on base model and dataset (`mlx_examples.recipe`)."""

from sq_pipeline.engines.trainers.mlx.support import SUPPORT as MLX
from sq_pipeline.engines.trainers.mlx_examples.output import REPORT_INTERVAL
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import Refusal, TrainerSupport, only


def _iterations(recipe: Recipe) -> Refusal | None:
    least = max(REPORT_INTERVAL, recipe.grad_accumulation)
    if recipe.iterations >= least:
        return None
    return Refusal(f"mlx-examples needs at least {least} with this grad_accumulation", f"write {least} or more")


SUPPORT = TrainerSupport(
    "mlx-examples",
    fields=frozenset(
        {
            "rank",
            "batch_size",
            "grad_accumulation",
            "learning_rate",
            "guidance",
            "resolution",
            "background",
            "num_augmentations",
            "checkpoint_interval",
            "kept_checkpoints",
            "sample_interval",
        }
    ),
    limits={
        "caption_styles": only(
            lambda recipe: not recipe.shows_both, "mlx-examples shows a picture under one caption", "write `[sentence]`"
        ),
        "alpha": only(lambda recipe: recipe.scale == 1, "mlx-examples has no alpha other than the rank"),
        "base_bits": only(lambda recipe: recipe.base_bits == 16, "mlx-examples has no quantized base model"),
        "gradient_checkpointing": only(
            lambda recipe: recipe.gradient_checkpointing is False,
            "mlx-examples has no gradient checkpointing in its training",
        ),
        "iterations": _iterations,
        "sample_prompts": only(
            lambda recipe: len(recipe.sample_prompts) == 1, "mlx-examples has no samples of more than one prompt"
        ),
        "warmup_steps": only(lambda recipe: recipe.warmup_steps >= 1, "mlx-examples needs a warmup", "write 1 or more"),
    },
    reasons={
        "modules": "mlx-examples has no choice of modules",
        "aspect_buckets": "mlx-examples has no aspect buckets",
        "crop_min": "mlx-examples has no smallest crop other than 0.8",
        "flip": "mlx-examples has no mirroring",
        "caption_dropout": "mlx-examples has no caption dropout",
        "prior_mix": "mlx-examples has no prior pictures",
        "seed": "mlx-examples has no choice of a seed",
    },
    instead=MLX,
)
