"""What the trainings of a data directory need of this machine's memory, and with which settings they fit.

Not here: the arithmetic (`training.memory`, `training.fit`), how much memory there is (engines).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sq_pipeline.base_models.base_models import BASE_MODELS, Dtype, Flux1Model, training_base_of
from sq_pipeline.common.errors import Fault, SqPipelineError, TrainingError
from sq_pipeline.pipeline.adapters.facts import base_model_for, recipe_of
from sq_pipeline.pipeline.context import Context
from sq_pipeline.training.fit import choose_settings, describe_gib, least_need, tokens_of_recipe
from sq_pipeline.training.memory import MemoryNeed, TrainingSettings, encoded_bytes_of, training_need
from sq_pipeline.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingFit:
    """One training on one machine. `settings` None: nothing fits, `faults` say what would, `need` is the least."""

    name: str
    base_model: str
    rank: int
    image_tokens: int
    settings: TrainingSettings | None
    need: MemoryNeed
    faults: tuple[Fault, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "base_model": self.base_model,
            "rank": self.rank,
            "image_tokens": self.image_tokens,
            "settings": self.settings.as_json() if self.settings else None,
            "fits_with": str(self.settings) if self.settings else "nothing",
            **self.need.as_json(),
            "faults": [str(fault) for fault in self.faults],
        }

    def describe(self) -> str:
        """One line."""
        need = f"{describe_gib(self.need.total_bytes)} of memory"
        told = f"needs {need}: {self.settings}" if self.settings else f"needs {need} at least"
        return f"{told}, computed in {self.need.dtype}"


def fit_training(
    name: str,
    recipe: Recipe,
    base_model: Flux1Model,
    memory_bytes: int,
    dtype: Dtype,
    *,
    pairs: int = 0,
    captions: int = 0,
) -> TrainingFit:
    """A recipe on a machine with so much memory that computes in `dtype`, over a FLUX.1; with the encoded dataset where
    its size is given.
    """
    tokens = tokens_of_recipe(recipe, base_model)
    encoded = encoded_bytes_of(base_model, recipe, tokens, pairs, captions, dtype=dtype)
    try:
        settings = choose_settings(recipe, base_model, tokens, memory_bytes, dtype=dtype, encoded_bytes=encoded)
    except TrainingError as error:
        least = least_need(recipe, base_model, tokens, dtype=dtype, encoded_bytes=encoded)
        return TrainingFit(name, base_model.name, recipe.rank, tokens, None, least, error.faults)
    need = training_need(base_model, recipe, tokens, settings, dtype=dtype, encoded_bytes=encoded)
    return TrainingFit(name, base_model.name, recipe.rank, tokens, settings, need)


def fit_trainings(context: Context, memory_bytes: int, dtype: Dtype) -> tuple[list[TrainingFit], list[str]]:
    """Each FLUX.1 with the default recipe, then each adapter that is trained here; and the recipes that are faulty."""
    fits = [
        fit_training(base_model.name, Recipe(), base_model, memory_bytes, dtype)
        for _, base_model in sorted(BASE_MODELS.items())
        if isinstance(base_model, Flux1Model)
    ]
    faults: list[str] = []
    for name, found in _recipes(context):
        if isinstance(found, SqPipelineError):
            faults += [str(fault) for fault in found.faults]
        else:
            fits.append(fit_training(name, *found, memory_bytes, dtype))
    return fits, faults


def _recipes(context: Context) -> Iterator[tuple[str, tuple[Recipe, Flux1Model] | SqPipelineError]]:
    """Recipe and base model of each adapter that the built-in trainer trains, or what is wrong with them."""
    for key, adapter in sorted(context.catalog.adapters.items()):
        if adapter.dataset is None:
            continue
        try:
            recipe = recipe_of(context, adapter)
            base_model = training_base_of(base_model_for(context, adapter))
        except SqPipelineError as error:
            yield key, error
            continue
        if isinstance(base_model, Flux1Model) and (recipe.trainer or context.settings.trainer) == "mlx":
            yield key, (recipe, base_model)
