"""Draws the pictures that tiny-flux learned from, and the demo's style datasets.

Pure drawing: Pillow and numpy, seeded, the same picture for the same scene. Knows nothing of models.
"""
