"""Our own LoRA trainer, in MLX."""
