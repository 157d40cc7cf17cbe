"""Trains style LoRAs with MLX, remaps them to mflux, proves that they work, and renders a game's places."""

__version__ = "0.1.0"
