"""Adapter files: safetensors, dialects, keymaps, and what a file means, whoever trained it. No engine."""
