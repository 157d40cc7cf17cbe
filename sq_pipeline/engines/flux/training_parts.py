"""A FLUX.1 on this machine, opened for a training: checked whole, loaded part by part.

Here: the transformer and the encoders together. Not here: where they are (`engines.factory`), either of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BaseModel
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.encoder_files import check_encoders
from sq_pipeline.engines.flux.encoder_tensors import EncoderDims
from sq_pipeline.engines.flux.encoders import FluxEncoders
from sq_pipeline.engines.flux.network import Flux, FluxDims
from sq_pipeline.engines.flux.quantized import Bits
from sq_pipeline.engines.flux.weights import check_weights, dims_of, load_weights


@dataclass(frozen=True)
class FluxParts:
    """`load_network` reads the transformer, frozen, quantized to so many bits (None: not). Free the encoders before."""

    encoders: FluxEncoders
    load_network: Callable[[Bits | None], Flux]


def open_flux_parts(
    base_model: BaseModel,
    data: DataDir,
    dtype: mx.Dtype,
    *,
    dims: FluxDims | None = None,
    encoder_dims: EncoderDims | None = None,
) -> FluxParts:
    """Check the transformer, the text encoders, the VAE and the tokenizers, by their headers.

    Raises one BaseModelError with every fault of all parts. Loads and downloads nothing. `dtype` is that of all
    weights; `dims` and `encoder_dims` are for networks of other widths than FLUX.1's.
    """
    dims = dims or dims_of(base_model)
    folder = files.training_folder(base_model, data)
    how = files.how_to_complete(base_model, data)
    place = files.transformer_in(folder, base_model)
    faults: list[Fault] = []
    weights = encoders = None
    if place is None:
        problem = f"holds neither transformer/ nor {base_model.single_file}"
        faults.append(Fault(str(folder), "", problem, how))
    else:
        try:
            weights = check_weights(place, dims, how)
        except BaseModelError as error:
            faults += error.faults
    try:
        encoders = check_encoders(folder, base_model, encoder_dims, how_to_get=how)
    except BaseModelError as error:
        faults += error.faults
    if weights is None or encoders is None:
        raise BaseModelError(faults)
    return FluxParts(FluxEncoders(encoders, dtype), lambda bits: load_weights(weights, dims, dtype, bits=bits))
