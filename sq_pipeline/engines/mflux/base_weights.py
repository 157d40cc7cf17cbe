"""The weights that an adapter is baked into for a measurement, or held against: the base model's own, or random ones
of its shapes.
"""

import math
import zlib
from collections.abc import Callable, Iterable
from typing import Literal

import mlx.core as mx
from mlx.utils import tree_flatten

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BaseModel, Flux1Model
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.flux.mflux_names import to_mflux_weights
from sq_pipeline.engines.mflux.flux_layers import MfluxLayer
from sq_pipeline.engines.tiny_flux import model

# the usual width of a trained transformer's linear layers; how much a bake keeps hangs on it
_RANDOM_STD = 0.02

WeightOf = Callable[[MfluxLayer], mx.array]


def open_weights(base_model: BaseModel, data: DataDir) -> tuple[Literal["real", "random"], WeightOf]:
    """What to bake into, and its (outputs, inputs) float32 weights by layer: real for tiny-flux where it is there."""
    if isinstance(base_model, Flux1Model) and base_model.mflux_name is None:  # quantized too: the same weights
        try:
            folder = files.base_model_folder(base_model, data)
        except BaseModelError:
            return "random", random_weight
        parameters = dict(tree_flatten(model.load_parts(folder).transformer.parameters()))
        weights = to_mflux_weights(parameters, base_model.hidden_size)
        return "real", lambda layer: weights[f"{layer.path}.weight"].astype(mx.float32)
    return "random", random_weight


def weights_norm(base_model: BaseModel, data: DataDir, layers: Iterable[MfluxLayer]) -> tuple[float, bool]:
    """The Frobenius norm of these layers' weights, and whether it is an estimate: of a large model none is read."""
    kind, weight_of = open_weights(base_model, data)
    if kind == "random":
        return _RANDOM_STD * math.sqrt(sum(layer.outputs * layer.inputs for layer in layers)), True
    return math.hypot(*(float(mx.linalg.norm(weight_of(layer))) for layer in layers)), False


def random_weight(layer: MfluxLayer) -> mx.array:
    """Normal numbers, the same for the same layer."""
    key = mx.random.key(zlib.crc32(layer.path.encode()))
    return _RANDOM_STD * mx.random.normal((layer.outputs, layer.inputs), key=key)
