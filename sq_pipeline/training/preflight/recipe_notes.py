"""What a recipe will do that its author may not have meant. It hinders nothing. Not here: what it may not say."""

from collections.abc import Iterator

from sq_pipeline.common.errors import Fault
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.schedule import Schedule, schedule_of
from sq_pipeline.training.validation_split import validation_indices

_MOST_WARMUP = 0.5  # of the optimizer steps
_LEAST_STEPS = 3  # at the peak or after it
_TRIAL_ITERATIONS = 50  # of fewer, with nothing said of a warm-up, nobody expects an adapter
# Rates, summed over all steps: about how far Adam can move a weight. Others train a style over FLUX.1 for 1,500 to
# 2,000 steps at 1e-4, which is 0.08 and more with a cosine.
_USUAL_SUM, _LEAST_SUM = 0.08, 0.02


def count_passes(recipe: Recipe, pairs: int) -> float:
    """How often each of `pairs` pictures is seen, if it is trained on."""
    trained = pairs - len(validation_indices(pairs, recipe.held_out_pairs))
    return recipe.iterations * recipe.batch_size * (1 - recipe.prior_mix) / max(1, trained)


def recipe_notes(recipe: Recipe, file: str) -> Iterator[Fault]:
    """Warnings about a recipe; `file` names it."""
    schedule = schedule_of(recipe)
    yield from _long_means_base(recipe, file)
    found = [*_short_of_steps(recipe, schedule, file)]
    yield from found
    if all(fault.field != "iterations" for fault in found):
        yield from _short_of_rate(recipe, schedule, file)


def _steps(count: int) -> str:
    return f"{count:,} optimizer step{'s' if count > 1 else ''}"


def _short_of_steps(recipe: Recipe, schedule: Schedule, file: str) -> Iterator[Fault]:
    steps, warmup = schedule.steps, schedule.warmup
    is_trial = recipe.iterations < _TRIAL_ITERATIONS and "warmup_steps" not in recipe.model_fields_set
    if is_trial or (warmup <= _MOST_WARMUP * steps and steps - warmup >= _LEAST_STEPS):
        return
    problem = f"{_steps(steps)}, {warmup} of them warm-up"
    if warmup and recipe.warmup_steps >= steps:
        problem += f": the warm-up of {recipe.warmup_steps} is longer than the training"
    field, hint = ("warmup_steps", "lower it, or raise `iterations`") if warmup else ("iterations", "raise it")
    yield Fault(file, field, problem, hint)


def _short_of_rate(recipe: Recipe, schedule: Schedule, file: str) -> Iterator[Fault]:
    mean = recipe.learning_rate * sum(schedule.shares()) / schedule.steps
    if recipe.iterations < _TRIAL_ITERATIONS or mean * schedule.steps >= _LEAST_SUM:
        return
    usual = round(_USUAL_SUM / mean, -2)
    problem = f"{_steps(schedule.steps)} at a mean rate of {mean:.1e}; a style takes about {usual:,.0f} of them"
    hint = "raise it" if recipe.grad_accumulation == 1 else "raise it, or lower `grad_accumulation`"
    yield Fault(file, "iterations", problem, hint)


def _long_means_base(recipe: Recipe, file: str) -> Iterator[Fault]:
    longer = [prompt for prompt in recipe.prior_prompts if len(prompt.split()) > 1]
    if not recipe.prior_mix or recipe.shows_sentences or not longer:
        return
    problem = (
        "teaches “a long prompt means the base model”: the style is shown under the bare trigger, and the base model's "
        "pictures under sentences; the trigger with a sentence will show no style"
    )
    hint = "leave it out, or write `caption_styles: [trigger, sentence]` and what each picture shows behind its trigger"
    yield Fault(file, "prior_mix", problem, hint)
