"""FLUX.1's transformer weights into the BFL-layout network, checked by their headers before anything is allocated.

Here: a place on disk → a `Flux` with those weights. Not here: finding a base model (`engines.factory`), names
(`weight_names`), headers (`weight_files`), other networks of FLUX.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from sq_pipeline.base_models.base_models import BaseModel, as_flux1
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.engines.flux.mflux_names import swap_halves
from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.flux.quantized import Bits, fill_quantized, quantize_blocks
from sq_pipeline.engines.flux.weight_files import WeightFiles, read_headers, tensor_faults
from sq_pipeline.engines.flux.weight_names import LAYOUTS, Layout, Origin, origins_of

_T5_SIZE, _CLIP_POOLED_SIZE = 4096, 768


def dims_of(base_model: BaseModel) -> FluxDims:
    """The sizes of a FLUX.1 that reads T5-XXL and CLIP-L: all but tiny-flux."""
    flux1 = as_flux1(base_model, "this network")
    return FluxDims(
        hidden_size=flux1.hidden_size,
        double_blocks=flux1.double_blocks,
        single_blocks=flux1.single_blocks,
        text_size=_T5_SIZE,
        pooled_size=_CLIP_POOLED_SIZE,
        takes_guidance=base_model.guidance is not None,
    )


@dataclass(frozen=True)
class TransformerWeights:
    """Checked weights: where each parameter of the network is read from. Nothing is in memory yet."""

    layout: Layout
    files: WeightFiles
    origins: Mapping[str, Origin]

    @property
    def byte_count(self) -> int:
        """Bytes of all tensors as they are in the files."""
        return sum(info.byte_count for _, info in self.files.tensors.values())


def check_weights(place: Path, dims: FluxDims, how_to_get: str) -> TransformerWeights:
    """Read the headers at `place` (see `weight_files`) and hold them against the network's parameters.

    Raises one BaseModelError with every fault: a file that is missing, cut off, a Git LFS pointer or not what the
    index says; tensors that are missing, unknown, of another shape or not floating point. Reads no tensor.
    """
    files = read_headers(place, how_to_get)
    shapes = {name: array.shape for name, array in tree_flatten(Flux(dims).parameters())}
    layout, origins = _choose_layout(shapes, files)
    wanted = {piece.name: piece.shape for origin in origins.values() for piece in origin.pieces}
    faults = [*files.faults, *tensor_faults(files, wanted, "FLUX.1's transformer", how_to_get, layout=layout)]
    if faults:
        raise BaseModelError(faults)
    return TransformerWeights(layout, files, origins)


def _choose_layout(shapes: Mapping[str, tuple[int, ...]], files: WeightFiles) -> tuple[Layout, dict[str, Origin]]:
    """The layout that more of the files' names belong to."""
    found = {layout: origins_of(shapes, layout) for layout in LAYOUTS}

    def known(layout: Layout) -> int:
        return sum(piece.name in files.tensors for origin in found[layout].values() for piece in origin.pieces)

    layout = max(LAYOUTS, key=known)
    return layout, found[layout]


def load_weights(
    weights: TransformerWeights, dims: FluxDims, dtype: mx.Dtype = mx.bfloat16, *, bits: Bits | None = None
) -> Flux:
    """The network with these weights, frozen, in `dtype`; with `bits` the blocks' linear layers are quantized.

    One parameter is read (and quantized) at a time, so that no more than the weights as they are kept and one
    parameter's pieces are in memory. Raises BaseModelError when a file changed since its check.
    """
    network = Flux(dims)
    if bits is not None:
        quantize_blocks(network, bits)
    opened: dict[Path, dict[str, mx.array]] = {}
    path: Path = weights.files.root
    try:
        for parameter, origin in weights.origins.items():
            pieces: list[mx.array] = []
            for piece in origin.pieces:
                path = weights.files.tensors[piece.name][0]
                if path not in opened:
                    opened[path] = mx.load(str(path))  # lazy: reads the header only
                pieces.append(opened[path].pop(piece.name))
            array = mx.concatenate(pieces, axis=0) if len(pieces) > 1 else pieces[0]
            del pieces
            array = (swap_halves(array) if origin.swaps_halves else array).astype(dtype)
            mx.eval(array)
            if not fill_quantized(network, parameter, array):
                network.load_weights([(parameter, array)], strict=False)
    except (RuntimeError, KeyError) as error:
        raise BaseModelError(
            Fault(str(path), "", f"cannot be read ({error})", "if it was just written, run this again")
        ) from error
    network.freeze()
    network.eval()
    return network


def load_transformer(
    place: Path,
    base_model: BaseModel,
    *,
    dims: FluxDims | None = None,
    dtype: mx.Dtype = mx.bfloat16,
    bits: Bits | None = None,
) -> Flux:
    """Check the weights of `base_model` at `place`, then load them; `dims` where they are not those of `dims_of`."""
    dims = dims or dims_of(base_model)
    return load_weights(check_weights(place, dims, base_model.how_to_get), dims, dtype, bits=bits)
