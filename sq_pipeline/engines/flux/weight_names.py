"""Which tensors each parameter of the BFL-layout network is read from, in the two layouts of FLUX.1's files.

* `bfl`, one file (`flux1-dev.safetensors`): Black Forest Labs' own names; q, k and v are one tensor, as in the network.
* `diffusers`, the `transformer/` folder that mflux reads: q, k and v (and a single block's MLP) are tensors of their
  own, and the final modulation has scale first where BFL has shift first.

Sources: black-forest-labs/flux `src/flux/modules/layers.py`; diffusers `scripts/convert_flux_to_diffusers.py`.
Not here: where the files are and what their headers say (`weight_files`), the numbers (`weights`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sq_pipeline.adapters.form import parts_of
from sq_pipeline.engines.flux.mflux_names import mflux_targets

Layout = Literal["bfl", "diffusers"]
LAYOUTS: tuple[Layout, ...] = ("bfl", "diffusers")

# mflux's names are diffusers' but for these
_DIFFUSERS_ENDS = {"linear1": "net.0.proj", "linear2": "net.2"}


@dataclass(frozen=True)
class Piece:
    """One tensor of a file and the shape that it must have."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Origin:
    """What a parameter is made of: the pieces, one below the other; `swaps_halves` when its halves change places."""

    pieces: tuple[Piece, ...]
    swaps_halves: bool = False


def origins_of(shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> dict[str, Origin]:
    """For each parameter of the network (`double_blocks.0.img_attn.qkv.weight` and its shape) its origin.

    Raises KeyError for a name that FLUX.1 does not have.
    """
    origin_of = _bfl_origin if layout == "bfl" else _diffusers_origin
    return {name: origin_of(name, tuple(shape)) for name, shape in shapes.items()}


def _bfl_origin(parameter: str, shape: tuple[int, ...]) -> Origin:
    # MLX's Sequential puts a `layers` in between; BFL's norms call their weight `scale`
    name = parameter.replace(".layers.", ".")
    if "_norm." in name:
        name = name.removesuffix("weight") + "scale"
    return Origin((Piece(name, shape),))


def _diffusers_origin(parameter: str, shape: tuple[int, ...]) -> Origin:
    module, _, kind = parameter.rpartition(".")
    targets = [f"{_diffusers_module(target)}.{kind}" for target in mflux_targets(module)]
    if len(targets) == 1:
        return Origin((Piece(targets[0], shape),), swaps_halves=module == "final_layer.adaLN_modulation.layers.1")
    shares = [share for _, share in parts_of(module)]
    rows = shape[0] // sum(shares)
    pieces = (Piece(name, (share * rows, *shape[1:])) for name, share in zip(targets, shares, strict=True))
    return Origin(tuple(pieces))


def _diffusers_module(target: str) -> str:
    parent, _, last = target.rpartition(".")
    is_mlp = parent.endswith((".ff", ".ff_context"))
    return f"{parent}.{_DIFFUSERS_ENDS[last]}" if is_mlp else target
