"""What `mflux-train` supports of a recipe. Not here: what hangs on base model and dataset (`mflux_train.config`).

Its pictures are cut for it (`mflux_train.pictures`): a cut may lie anywhere in a picture and be scaled up, where `mlx`
cuts a smaller copy of the picture's shape first. What was trained stays as it is, so of `crop_min` only the values are
followed that mean the same.
"""

from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.support import Refusal, TrainerSupport, only


def _alpha(recipe: Recipe) -> Refusal | None:
    if recipe.alpha is None or recipe.alpha == recipe.rank:
        return None
    lost = f"{recipe.alpha:g} at rank {recipe.rank} would be lost"
    return Refusal(f"mflux-train writes no alpha into its adapters: {lost}", "leave it out")


SUPPORT = TrainerSupport(
    "mflux-train",
    fields=frozenset(
        {
            "rank",
            "modules",
            "iterations",
            "batch_size",
            "grad_accumulation",
            "learning_rate",
            "warmup_steps",
            "resolution",
            "background",
            "num_augmentations",
            "flip",
            "base_bits",
            "gradient_checkpointing",
            "seed",
            "checkpoint_interval",
            "kept_checkpoints",
            "sample_interval",
            "sample_prompts",
        }
    ),
    limits={
        "caption_styles": only(
            lambda recipe: not recipe.shows_both, "mflux-train shows a picture under one caption", "write `[sentence]`"
        ),
        "alpha": _alpha,
        "crop_min": only(
            lambda recipe: recipe.crop_min == 1,
            "mflux-train is shown cuts of 0.8 to 1 of a picture's sides, or the whole picture",
            "leave it out, or write 1.0",
        ),
    },
    reasons={
        "guidance": "mflux-train trains Z-Image and FLUX.2, which are not trained at a guidance",
        "aspect_buckets": "mflux-train has no aspect buckets: all its pictures are cut to one size",
        "caption_dropout": "mflux-train encodes no empty caption",
        "prior_mix": "mflux-train has no pictures of the base model beside the dataset",
    },
)
