"""The course of a training's learning rate: its optimizer steps, and the rate at each of them.

Here: one rule, which the trainer follows and the preflight counts with. Not here: the optimizer (engines).
"""

import math
from dataclasses import dataclass

from sq_pipeline.training.recipe import Recipe

# Raised when the same recipe is trained at other rates. What was trained stays as it is; a training that was cut off
# under another rule begins anew, and one that diverged under it is tried again.
SCHEDULE_REVISION = 2


@dataclass(frozen=True)
class Schedule:
    """`steps` of the optimizer, the first `warmup` of them below the peak while the rate rises."""

    steps: int
    warmup: int

    def share(self, step: int) -> float:
        """The rate at a step (0 is the first) as a share of the peak: above 0 at each step that there is.

        After the warm-up it is at the peak, and falls on the cosine that would reach 0 `steps` steps later, as
        mlx-examples has it: the training ends before that, the higher the more of it was warm-up.
        """
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return (1 + math.cos(math.pi * (step - self.warmup) / self.steps)) / 2

    def shares(self) -> list[float]:
        """The share of the peak at each step."""
        return [self.share(step) for step in range(self.steps)]


def schedule_of(recipe: Recipe) -> Schedule:
    """The schedule of a recipe. Its warm-up is cut where the peak would never be reached: the last step is at it."""
    steps = math.ceil(recipe.iterations / recipe.grad_accumulation)  # the last one may be of fewer iterations
    return Schedule(steps, min(recipe.warmup_steps, steps - 1))
