"""Random low-rank updates, rounded to what a file can hold. Not here: the names they get in a dialect."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of
from sq_pipeline_tests.adapters.files import SMALL, Bits, to_bits
from sq_pipeline_tests.loaders.layers import Update, layers_of, no_update

# none: no alpha in the file, the update is up @ down; some: every other update has one, half of its rank
Alpha = Literal["none", "rank", "half", "one", "some"]
Dtype = Literal["F32", "F16", "BF16"]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What to draw. One seed gives the same fused update in every dialect that can hold it.

    `ranks`: one for all, or several that take turns over the updates. `own_parts`: q, k, v (and MLP) get factors and
    ranks of their own, which only a dialect that knows the parts can hold; otherwise they share the fused `down`.
    `only`: a pattern found in the names of what is covered (`double_blocks.0.img_attn.qkv`, with `.q` for a part).
    """

    base_model: Flux1Model = SMALL
    ranks: int | Sequence[int] = 2
    dtype: Dtype = "F32"
    alpha: Alpha = "none"
    seed: int = 0
    own_parts: bool = False
    only: str = ""


@dataclass(frozen=True)
class Factors:
    """One low-rank update as stored: `down` (rank, inputs), `up` (outputs, rank), each number as its dtype holds it.

    `start`: its first row in the module's outputs.
    """

    module: str
    part: str
    start: int
    down: Numbers
    up: Numbers
    alpha: float | None

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """alpha / rank, 1 without an alpha."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True)
class Built:
    """A file, and the update of every BFL module that it means: (outputs, inputs), zero where it says nothing."""

    path: Path
    wanted: Mapping[str, Update]


def from_bits(bits: Bits, dtype: str) -> Numbers:
    """The numbers that raw bits of `dtype` stand for."""
    if dtype == "BF16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return bits.view({"F32": np.float32, "F16": np.float16}[dtype]).astype(np.float64)


def _draw(name: str, shape: tuple[int, int], recipe: Recipe) -> Numbers:
    random = np.random.default_rng([recipe.seed, zlib.crc32(name.encode())])
    return from_bits(to_bits(random.standard_normal(shape), recipe.dtype), recipe.dtype)


def _alpha(recipe: Recipe, index: int, rank: int) -> float | None:
    return {
        "none": None,
        "rank": float(rank),
        "half": rank / 2,
        "one": 1.0,
        "some": rank / 2 if index % 2 else None,
    }[recipe.alpha]


def fused_factors(recipe: Recipe) -> list[Factors]:
    """One pair for each module; raises ValueError for `own_parts`, which fused names cannot hold."""
    if recipe.own_parts:
        raise ValueError("fused names hold no parts of their own")
    modules = [entry for entry in modules_of(recipe.base_model) if re.search(recipe.only, entry[0])]
    factors: list[Factors] = []
    for index, (module, inputs, outputs) in enumerate(modules):
        rank = _rank(recipe, index)
        down = _draw(f"{module}.down", (rank, inputs), recipe)
        up = _draw(f"{module}.up", (outputs, rank), recipe)
        factors.append(Factors(module, "", 0, down, up, _alpha(recipe, index, rank)))
    return factors


def part_factors(recipe: Recipe) -> list[Factors]:
    """One pair for each layer of diffusers: of its own, or cut from the fused pair."""
    layers = layers_of(recipe.base_model, "diffusers")
    if recipe.own_parts:
        layers = [layer for layer in layers if re.search(recipe.only, layer.slot)]
        factors: list[Factors] = []
        for index, layer in enumerate(layers):
            rank = _rank(recipe, index)
            down = _draw(f"{layer.slot}.down", (rank, layer.inputs), recipe)
            up = _draw(f"{layer.slot}.up", (layer.outputs, rank), recipe)
            factors.append(Factors(layer.module, layer.part, layer.start, down, up, _alpha(recipe, index, rank)))
        return factors
    whole = {one.module: one for one in fused_factors(recipe)}
    return [
        Factors(layer.module, layer.part, layer.start, one.down, one.up[layer.start : layer.end], one.alpha)
        for layer in layers
        if (one := whole.get(layer.module)) is not None
    ]


def _rank(recipe: Recipe, index: int) -> int:
    return recipe.ranks if isinstance(recipe.ranks, int) else recipe.ranks[index % len(recipe.ranks)]


def wanted(recipe: Recipe, factors: Sequence[Factors]) -> dict[str, Update]:
    """The updates that factors mean, by module."""
    updates = no_update(recipe.base_model)
    for one in factors:
        updates[one.module][one.start : one.start + one.up.shape[0]] = one.scale * (one.up @ one.down)
    return updates
