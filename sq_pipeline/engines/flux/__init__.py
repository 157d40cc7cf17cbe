"""FLUX.1 in the BFL layout, in MLX: the network that adapters are trained over, and its weights' names."""
