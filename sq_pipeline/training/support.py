"""What a trainer supports of a recipe, and the one function that refuses the rest, by name.

A trainer declares the recipe's fields that it follows (`SUPPORT`, in its own folder). A field that is on and that it
did not declare is refused, so a field that is added to `Recipe` is never left out in silence. Not here: what hangs on
the base model or on the number of pictures, which each trainer checks itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sq_pipeline.common.errors import Fault, TrainingError
from sq_pipeline.training.recipe import Recipe, TrainerName

RECIPE_FILE = "lora.yaml"
# Followed for every trainer by what is around it: preflight, choice of trainer and base model, the split of the plan.
NEUTRAL = frozenset(
    "name kind trigger trigger_required gate base_model trainer min_pairs ignore held_out_pairs".split()
)
# Fields that say how another one is done, and nothing while that one is off.
PART_OF: Mapping[str, str] = {"prior_prompts": "prior_mix", "prior_pictures": "prior_mix"}


@dataclass(frozen=True)
class Refusal:
    """Why a value cannot be done, and what helps; without a `hint` the usual one."""

    problem: str
    hint: str = ""


Limit = Callable[[Recipe], Refusal | None]


def only(allows: Callable[[Recipe], bool], problem: str, hint: str = "") -> Limit:
    """A limit that refuses every recipe which `allows` does not."""
    return lambda recipe: None if allows(recipe) else Refusal(problem, hint)


@dataclass(frozen=True)
class TrainerSupport:
    """The recipe's fields that a trainer follows: `fields` whatever their value, `limits` for some values.

    `reasons` tell more of fields that are in neither. `instead` trains the same base models and can do more.
    """

    trainer: TrainerName
    fields: frozenset[str]
    limits: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    instead: "TrainerSupport | None" = None

    def refusal_of(self, name: str, recipe: Recipe) -> Refusal | None:
        """Why the field's value cannot be done; None: it can, or the field is off."""
        if name in NEUTRAL or name in self.fields or not _is_on(name, recipe):
            return None
        if name in self.limits:
            return self.limits[name](recipe)
        whole = PART_OF.get(name)
        if whole is not None and (not _is_on(whole, recipe) or self.refusal_of(whole, recipe) is not None):
            return None
        return Refusal(self.reasons.get(name, f"{self.trainer} has no such setting"))


def values_on(recipe: Recipe) -> dict[str, Any]:
    """The fields that are on, a subclass's too: those whose value is not the default."""
    # the values as they are held: what a trainer reads by attribute can be watched
    return {name: value for name, value in recipe if value != _default(name, recipe)}


def _default(name: str, recipe: Recipe) -> Any:
    return type(recipe).model_fields[name].get_default(call_default_factory=True)


def _is_on(name: str, recipe: Recipe) -> bool:
    return name in values_on(recipe)


def unsupported_faults(recipe: Recipe, support: TrainerSupport, file: str = RECIPE_FILE) -> Iterator[Fault]:
    """A fault for each field that the trainer cannot do, in the recipe's order."""
    for name in values_on(recipe):
        refusal = support.refusal_of(name, recipe)
        if refusal is not None:
            yield Fault(file, name, refusal.problem, refusal.hint or _usual_hint(name, recipe, support))


def _usual_hint(name: str, recipe: Recipe, support: TrainerSupport) -> str:
    instead = support.instead
    if instead is None or instead.refusal_of(name, recipe) is not None:
        return "leave it out"
    return f"leave it out, or use `trainer: {instead.trainer}`"


def refuse_unsupported(recipe: Recipe, support: TrainerSupport, file: str = RECIPE_FILE) -> None:
    """Raises TrainingError with every field that the trainer cannot do, all at once."""
    faults = list(unsupported_faults(recipe, support, file))
    if faults:
        raise TrainingError(faults)
