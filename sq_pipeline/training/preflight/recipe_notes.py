"""What a recipe will do that its author may not have meant. It hinders nothing. Not here: what it may not say."""

from collections.abc import Iterator

from sq_pipeline.common.errors import Fault
from sq_pipeline.training.recipe import Recipe

_MOST_WARMUP = 0.8  # of the optimizer steps; the defaults have two thirds
_LEAST_STEPS = 3
_TRIAL_ITERATIONS = 50  # of fewer, with nothing said of a warm-up, nobody expects an adapter


def count_steps(recipe: Recipe) -> tuple[int, int]:
    """Optimizer steps of a training, and how many of them are warm-up, which is never all of them."""
    steps = max(1, recipe.iterations // recipe.grad_accumulation)
    return steps, min(recipe.warmup_steps, steps - 1)


def recipe_notes(recipe: Recipe, file: str) -> Iterator[Fault]:
    """Warnings about a recipe; `file` names it."""
    steps, warmup = count_steps(recipe)
    above = steps - (1 if warmup else 0)  # the first step of a warm-up is at a rate of zero
    is_trial = recipe.iterations < _TRIAL_ITERATIONS and "warmup_steps" not in recipe.model_fields_set
    if is_trial or (warmup <= _MOST_WARMUP * steps and above >= _LEAST_STEPS):
        return
    shown = f"{steps} optimizer step{'s' if steps > 1 else ''}, {warmup} of them warm-up"
    problem = f"{shown}, {above} step{'s' if above > 1 else ''} at a rate above 0"
    if warmup and recipe.warmup_steps >= steps:
        problem += f": the warm-up of {recipe.warmup_steps} is longer than the training"
    field, hint = ("warmup_steps", "lower it, or raise `iterations`") if warmup else ("iterations", "raise it")
    yield Fault(file, field, problem, hint)
