"""What the built-in trainer supports: all that a recipe has, over FLUX.1."""

from sq_pipeline.base_models.base_models import FAMILY_NAMES, BaseModel, Flux1Model
from sq_pipeline.common.errors import Fault
from sq_pipeline.training.support import RECIPE_FILE, TrainerSupport

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
            "caption_styles",
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


def family_fault(base_model: BaseModel) -> Fault | None:
    """Why it cannot train over a base model; None: it can."""
    if isinstance(base_model, Flux1Model):
        return None
    problem = f"{base_model.name} is a {FAMILY_NAMES[base_model.family]}, and this trainer trains FLUX.1 alone"
    return Fault(RECIPE_FILE, "trainer", problem, "write `trainer: mflux-train`")
