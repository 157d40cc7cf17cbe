"""Stands where mlx-examples has its FLUX.1 package."""
