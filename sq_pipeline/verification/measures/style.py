"""How far do pictures go from the base model's towards a dataset's, and do they arrive there?

Four groups of features (light, hue, borders, texture), each in units of its own spread, each judged for itself: an
adapter of another style can go the right way in one of them by chance, hardly in all. Not here: limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sq_pipeline.verification.measures.features import DIRECTIONS, GROUPS, Floats, Pixels

# A difference of less than this share of the pictures' own spread is none: the mean of a few pictures moves by as much.
MEANS_SOMETHING = 0.5
# A base model draws softer than a dataset is: over tiny-flux plain pictures without any style are 3.8 spreads apart in
# one frequency, those of a style that is nothing but texture 8.
TEXTURE_MEANS_SOMETHING = 6.0
_OWN_TEXTURE = 3.0  # spreads; a frequency in which the dataset has as much more is its own, and may be overshot


@dataclass(frozen=True)
class GroupFigures:
    """One group of features. `wanted`: how far the dataset is from the base model, in units of spread, over all of
    them; `peak`: in the one where it is farthest.

    `share` of that way that was gone; `direction`: the cosine between the way gone and the way wanted; `distance` that
    is left to the dataset, as a share of the way wanted, or of `MEANS_SOMETHING` where that is more.
    """

    wanted: float
    peak: float
    share: float
    direction: float
    distance: float


@dataclass(frozen=True)
class StyleFigures:
    """All groups by name, and what they say together.

    `share`, `direction`: the least of the groups that count; `distance`: the largest of all but texture, which a base
    model's own softness moves. Texture counts alone, where nothing else does. A faint grade may have no group that
    counts: then pictures cannot say whether it is shown, and the loss has to. `foreign_texture`: the most that pictures
    gained in one frequency beyond what the dataset has there, in units of spread, 0 for the base model itself.
    """

    groups: Mapping[str, GroupFigures]
    foreign_texture: float = 0.0

    @property
    def counting(self) -> tuple[str, ...]:
        """The groups that the dataset differs in from the base model; texture only where no other does."""
        found = tuple(n for n, group in self.groups.items() if n != "texture" and group.wanted >= MEANS_SOMETHING)
        has_texture = self.groups["texture"].peak >= TEXTURE_MEANS_SOMETHING
        return found or (("texture",) if has_texture else ())

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
        gone = {name: self._gone(name, with_adapter, without) for name in GROUPS}
        return StyleFigures(
            {name: self._compare(name, gone[name]) for name in GROUPS}, self._foreign_texture(gone["texture"])
        )

    def _foreign_texture(self, gone: Floats) -> float:
        """Beside the dataset's own: lines come with harmonics, so that a direction in which it has some is its own."""
        wanted, gone = (values.reshape(-1, DIRECTIONS) for values in (self._wanted["texture"], gone))
        is_foreign = (wanted < _OWN_TEXTURE) & (wanted.max(axis=0) < TEXTURE_MEANS_SOMETHING)
        excess = gone - np.maximum(wanted, 0)
        return float(excess[is_foreign].max(initial=0.0))

    def _gone(self, name: str, with_adapter: Sequence[Pixels], without: Sequence[Pixels]) -> Floats:
        measure, units = GROUPS[name], self._units[name]
        pairs = zip(with_adapter, without, strict=True)
        return np.mean([(measure(mine) - measure(base)) / units for mine, base in pairs], axis=0)

    def _compare(self, name: str, gone: Floats) -> GroupFigures:
        wanted = self._wanted[name]
        length, size = float(np.linalg.norm(wanted)), float(np.sqrt(len(wanted)))
        along = float(gone @ wanted)
        return GroupFigures(
            wanted=length / size,
            peak=float(np.abs(wanted).max()),
            share=along / max(length**2, 1e-12),
            direction=along / max(length * float(np.linalg.norm(gone)), 1e-12),
            distance=float(np.linalg.norm(wanted - gone)) / max(length, MEANS_SOMETHING * size),
        )
