"""Keys of other trainers' recipes, and what they are in ours: a hint for who writes one. Not here: our keys."""

from collections.abc import Collection, Mapping

from sq_pipeline.common.hints import command

_OURS: Mapping[str, tuple[str, ...]] = {
    "iterations": ("steps", "max_train_steps", "train_steps", "num_steps", "max_steps", "iters"),
    "rank": ("network_dim", "lora_rank", "dim", "linear", "r"),
    "alpha": ("network_alpha", "lora_alpha", "linear_alpha"),
    "learning_rate": ("lr", "unet_lr", "transformer_lr"),
    "batch_size": ("train_batch_size",),
    "grad_accumulation": ("gradient_accumulation_steps", "grad_accum", "accumulation"),
    "warmup_steps": ("lr_warmup_steps", "warmup"),
    "trigger": ("trigger_word", "trigger_phrase", "instance_prompt", "activation_word", "token"),
    "base_model": ("model", "pretrained_model_name_or_path", "model_name", "base"),
    "resolution": ("train_resolution",),
    "aspect_buckets": ("enable_bucket", "bucket", "buckets"),
    "flip": ("flip_aug", "random_flip", "horizontal_flip"),
    "caption_dropout": ("caption_dropout_rate", "dropout_rate", "cond_dropout"),
    "gradient_checkpointing": ("checkpointing",),
    "base_bits": ("quantize",),
    "checkpoint_interval": ("save_every", "save_every_n_steps", "checkpointing_steps", "save_steps"),
    "sample_interval": ("sample_every", "sample_every_n_steps", "validation_steps"),
    "sample_prompts": ("prompts", "validation_prompt", "sample_prompt"),
    "held_out_pairs": ("validation_split",),
    "guidance": ("guidance_scale", "cfg"),
    "modules": ("target_modules", "layers"),
    "num_augmentations": ("augmentations",),
}
_FOREIGN = {theirs: ours for ours, group in _OURS.items() for theirs in group}
_NONE_HERE = {
    **dict.fromkeys(("optimizer", "optimizer_type", "optim"), "Adam is the only optimizer; remove it"),
    **dict.fromkeys(
        ("lr_scheduler", "scheduler", "lr_schedule"),
        "the rate rises over `warmup_steps` and falls on a cosine; remove it",
    ),
    **dict.fromkeys(
        ("epochs", "epoch", "max_train_epochs", "num_train_epochs"),
        "a training is counted in `iterations`: epochs × pictures / batch_size; remove it",
    ),
    **dict.fromkeys(("repeats", "num_repeats"), "all pictures are seen alike; remove it"),
    **dict.fromkeys(
        ("caption_extension", "caption_ext"),
        f"captions are .txt; {command('dataset import', 'FOLDER', 'OUT')} reads others; remove it",
    ),
    **dict.fromkeys(("size", "width", "height"), "write both as `resolution`, a list of two"),
    **dict.fromkeys(
        ("mixed_precision", "dtype", "precision", "save_precision", "fp8_base"),
        "the trainer chooses its precision; remove it",
    ),
    "network_module": "what is trained is a LoRA; remove it",
    **dict.fromkeys(("scale", "lora_scale"), "the strength is `scale` in the world's `loras:`; remove it"),
}


def hint_for_foreign_key(key: str, given: Collection[str] = ()) -> str | None:
    """What a key of another trainer is here, or why there is none; None for a key that no trainer is known to have.

    `given`: the recipe's keys.
    """
    name = key.lower().replace("-", "_")
    if name in _NONE_HERE:
        return _NONE_HERE[name]
    ours = _FOREIGN.get(name)
    if ours in given:
        return f"it is `{ours}` here, which is there already; remove this one"
    return f"write it as `{ours}`" if ours else None
