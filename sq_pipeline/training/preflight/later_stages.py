"""What the stages after a preflight refuse of a dataset, asked of them before: its trainer, and what reads its texts.

Not here: those stages. They are given, as `LaterStages`.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sq_pipeline.base_models.base_models import BaseModel, training_base_of
from sq_pipeline.base_models.ports import TokenCounter
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.words import find_word
from sq_pipeline.training.plan import TrainingPlan, plan_training
from sq_pipeline.training.preflight.like_faults import LikeFault
from sq_pipeline.training.recipe import Recipe


@dataclass(frozen=True)
class LaterStages:
    """`token_counter` gives a base model's own, and raises BaseModelError where it is not on this machine.

    `trainer_faults`: what the trainer that is to train refuses of a plan.
    """

    token_counter: Callable[[BaseModel], TokenCounter]
    trainer_faults: Callable[[TrainingPlan], Iterable[Fault]]


def trainer_faults(
    recipe: Recipe, base_model: BaseModel, captions: Sequence[str], name: str, later: LaterStages
) -> Iterator[Fault]:
    """What the trainer refuses; `name` names the dataset."""
    for fault in later.trainer_faults(plan_training(recipe, base_model.name, captions)):
        yield replace(fault, file=f"{name}/{fault.file}")


def judge_texts(
    recipe: Recipe, base_model: BaseModel, captions: Sequence[tuple[str, str]], name: str, later: LaterStages
) -> tuple[list[Fault], list[Fault]]:
    """Faults of texts that the base model does not read whole, and warnings of triggers that its CLIP does not read.

    `captions`: each with its file.
    """
    trained_over = training_base_of(base_model)
    try:
        counter = later.token_counter(trained_over)
    except BaseModelError as error:
        first = error.faults[0]
        problem = f"tokens of captions are not counted: {first.problem}"
        return [], [Fault(name, "", problem, first.hint)]
    faults = [*_too_long(captions, counter), *_prompts_too_long(recipe, f"{name}/lora.yaml", counter)]
    if not recipe.trigger:
        return faults, []
    if problem := counter.count_tokens(recipe.trigger).nothing_known_of(recipe.trigger):
        faults.append(Fault(f"{name}/lora.yaml", "trigger", problem, "choose a word in plain Latin letters"))
    return faults, [*_cut_triggers(recipe.trigger, captions, counter)]


def _too_long(captions: Iterable[tuple[str, str]], counter: TokenCounter) -> Iterator[Fault]:
    for file, text in captions:
        counts = counter.count_tokens(text)
        if counts.tokens > counts.budget:
            problem = f"has {counts.tokens:,} tokens, {counts.budget} are read"
            yield LikeFault(file, "", problem, "shorten it", f"has more tokens than the {counts.budget} that are read")


def _prompts_too_long(recipe: Recipe, file: str, counter: TokenCounter) -> Iterator[Fault]:
    texts = {"sample_prompts": recipe.sample_prompts, "prior_prompts": recipe.prior_prompts if recipe.prior_mix else ()}
    for field, prompts in texts.items():
        for index, prompt in enumerate(prompts):
            for fault in _too_long([(file, prompt)], counter):
                yield Fault(file, f"{field}[{index}]", fault.problem, fault.hint)


def _cut_triggers(trigger: str, captions: Iterable[tuple[str, str]], counter: TokenCounter) -> Iterator[Fault]:
    for file, text in captions:
        text = unicodedata.normalize("NFC", text)
        end = find_word(trigger, text)
        if end is None or not counter.count_tokens(text).is_cut_by_clip:
            continue
        read = counter.count_tokens(text[:end])
        if read.is_cut_by_clip:
            problem = f"the trigger stands after CLIP's {read.clip_budget} tokens, at {read.clip}"
            shared = f"has its trigger after CLIP's {read.clip_budget} tokens"
            yield LikeFault(file, "", problem, "put it in front", shared)
