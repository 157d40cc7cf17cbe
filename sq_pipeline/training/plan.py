"""The plan of a training: what its recipe means for these pictures over this base model, the same for every trainer.

Sizes, crops, which pictures are held out, and the settings that fit a machine come from here. It is worked out once a
request (`TrainRequest.plan`). Not here: the rules for each (`buckets`, `validation_split`, `fit`), how much memory
there is (engines), the environment of child processes (`environment`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sq_pipeline.base_models.base_models import BaseModel, Dtype, SizePx, resolve_base_model, training_base_of
from sq_pipeline.training.buckets import training_sizes
from sq_pipeline.training.fit import settings_for
from sq_pipeline.training.memory import TrainingSettings
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.training.validation_split import validation_indices

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Crops:
    """How pictures are seen: each as `num_augmentations` random cuts of `crop_min` to 1 of its sides, at the one of
    `sizes` that fits it best. The first size is the training's resolution; there are more with aspect buckets only.
    `background`: the recipe's.
    """

    sizes: tuple[SizePx, ...]
    num_augmentations: int
    crop_min: float
    flip: bool
    background: str | None = None

    @property
    def resolution(self) -> SizePx:
        """The training size: no other size has a larger area."""
        return self.sizes[0]


def crops_of(recipe: Recipe, training_size: SizePx) -> Crops:
    """A recipe's crops over a base model with that training size."""
    sizes = training_sizes(recipe, training_size)
    return Crops(sizes, recipe.num_augmentations, recipe.crop_min, recipe.flip, recipe.background)


@dataclass(frozen=True)
class TrainingPlan:
    """`base_model` is what is trained over, which a distilled or quantized one is not.

    `trained` and `validation` are the numbers of the pictures in the dataset's order, `captions` how many different
    ones they have.
    """

    recipe: Recipe
    base_model: BaseModel
    crops: Crops
    trained: tuple[int, ...]
    validation: tuple[int, ...]
    captions: int

    @property
    def size(self) -> SizePx:
        """The training size."""
        return self.crops.resolution

    def trained_of(self, items: Sequence[_Item]) -> list[_Item]:
        """Those of the dataset's items that are trained on, in its order."""
        return [items[index] for index in self.trained]

    def validation_of(self, items: Sequence[_Item]) -> list[_Item]:
        """Those of the dataset's items that are held out, in its order."""
        return [items[index] for index in self.validation]

    def settings(self, memory_bytes: int, dtype: Dtype) -> TrainingSettings:
        """What `auto` is on a machine with so much memory that computes in `dtype`; raises TrainingError with what
        would help if none fits.
        """
        pairs = len(self.trained) + len(self.validation)
        return settings_for(self.recipe, self.base_model, memory_bytes, dtype, pairs=pairs, captions=self.captions)


def plan_training(recipe: Recipe, base_model: str, captions: Sequence[str]) -> TrainingPlan:
    """The plan for pictures with these captions, one each. Raises BaseModelError for a base model that is not known."""
    trained_over = training_base_of(resolve_base_model(base_model))
    validation = validation_indices(len(captions), recipe.held_out_pairs)
    trained = sorted(set(range(len(captions))) - set(validation))
    return TrainingPlan(
        recipe=recipe,
        base_model=trained_over,
        crops=crops_of(recipe, trained_over.training_size),
        trained=tuple(trained),
        validation=validation,
        captions=len({*captions, recipe.trigger} if recipe.shows_both else set(captions)),
    )
