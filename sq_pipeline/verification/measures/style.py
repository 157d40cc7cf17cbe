"""How far do pictures go from the base model's towards a dataset's, and do they arrive there?

Four groups of features (light, hue, borders, texture), each in units of its own spread, each judged for itself: an
adapter of another style can go the right way in one of them by chance, hardly in all. Not here: limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sq_pipeline.verification.measures.features import GROUPS, Floats, Pixels

# A difference of less than this share of the pictures' own spread is none: the mean of a few pictures moves by as much.
MEANS_SOMETHING = 0.5
# A base model draws softer than a dataset is: over tiny-flux plain pictures without any style are 1.5 apart in texture.
TEXTURE_MEANS_SOMETHING = 2.0


@dataclass(frozen=True)
class GroupFigures:
    """One group of features. `wanted`: how far the dataset is from the base model, in units of spread.

    `share` of that way that was gone; `direction`: the cosine between the way gone and the way wanted; `distance` that
    is left to the dataset, as a share of the way wanted, or of `MEANS_SOMETHING` where that is more.
    """

    wanted: float
    share: float
    direction: float
    distance: float


@dataclass(frozen=True)
class StyleFigures:
    """All groups by name, and what they say together.

    `share`, `direction`: the least of the groups that count; `distance`: the largest of all but texture, which a base
    model's own softness moves. Texture counts alone, where nothing else does. A faint grade may have no group that
    counts: then pictures cannot say whether it is shown, and the loss has to.
    """

    groups: Mapping[str, GroupFigures]

    @property
    def counting(self) -> tuple[str, ...]:
        """The groups that the dataset differs in from the base model; texture only where no other does."""
        colours = tuple(name for name in self.groups if name != "texture" and self._counts(name, MEANS_SOMETHING))
        return colours or (("texture",) if self._counts("texture", TEXTURE_MEANS_SOMETHING) else ())

    def _counts(self, name: str, least: float) -> bool:
        return self.groups[name].wanted >= least

    @property
    def share(self) -> float:
        """Share of the way to the dataset, 0 for the base model itself; 0 where nothing tells the two apart."""
        return min((self.groups[name].share for name in self.counting), default=0.0)

    @property
    def direction(self) -> float:
        """Cosine of the way gone with the way wanted."""
        return min((self.groups[name].direction for name in self.counting), default=0.0)

    @property
    def distance(self) -> float:
        """Distance that is left, 1 for the base model itself; above it, pictures went away from the dataset."""
        looked_at = {*self.counting, *(name for name in self.groups if name != "texture")}
        return max(self.groups[name].distance for name in looked_at)


class StyleTarget:
    """What a dataset looks like beside a base model's pictures. Raises ValueError for fewer than two of either."""

    def __init__(self, dataset: Sequence[Pixels], base: Sequence[Pixels]) -> None:
        if len(dataset) < 2 or len(base) < 2:
            raise ValueError("a spread needs two pictures")
        self._wanted: dict[str, Floats] = {}
        self._units: dict[str, Floats] = {}
        for name, measure in GROUPS.items():
            there, here = (np.stack([measure(picture) for picture in each]) for each in (dataset, base))
            spread = np.sqrt((there.var(axis=0) + here.var(axis=0)) / 2)
            # a feature that hardly varies must not outweigh all others
            self._units[name] = np.maximum(spread, 0.05 * np.median(spread) + 1e-6)
            self._wanted[name] = (there.mean(axis=0) - here.mean(axis=0)) / self._units[name]

    def measure(self, with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> StyleFigures:
        """Pictures with an adapter, each beside the base model's own of the same prompt and seed."""
        return StyleFigures({name: self._measure(name, with_adapter, without) for name in GROUPS})

    def _measure(self, name: str, with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> GroupFigures:
        measure, units, wanted = GROUPS[name], self._units[name], self._wanted[name]
        pairs = zip(with_adapter, without, strict=True)
        gone = np.mean([(measure(mine) - measure(base)) / units for mine, base in pairs], axis=0)
        length, size = float(np.linalg.norm(wanted)), float(np.sqrt(len(wanted)))
        along = float(gone @ wanted)
        return GroupFigures(
            wanted=length / size,
            share=along / max(length**2, 1e-12),
            direction=along / max(length * float(np.linalg.norm(gone)), 1e-12),
            distance=float(np.linalg.norm(wanted - gone)) / max(length, MEANS_SOMETHING * size),
        )
