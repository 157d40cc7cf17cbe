"""Pictures of 256×192 and other shapes: landscapes, people and creatures, outlined and lit, in their own words.

What the next tiny-flux learns from. Pure drawing: Pillow and numpy, seeded, the same picture for the same scene.
Knows nothing of models.
"""
