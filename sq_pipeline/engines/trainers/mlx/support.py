"""What the built-in trainer supports: all that a recipe has."""

from sq_pipeline.training.support import TrainerSupport

SUPPORT = TrainerSupport(
    "mlx",
    fields=frozenset(
        {
            "rank",
            "alpha",
            "modules",
            "iterations",
            "batch_size",
            "grad_accumulation",
            "learning_rate",
            "warmup_steps",
            "guidance",
            "resolution",
            "background",
            "aspect_buckets",
            "num_augmentations",
            "crop_min",
            "flip",
            "caption_dropout",
            "prior_mix",
            "prior_prompts",
            "prior_pictures",
            "base_bits",
            "gradient_checkpointing",
            "seed",
            "checkpoint_interval",
            "kept_checkpoints",
            "sample_interval",
            "sample_prompts",
        }
    ),
)
