"""Comparing adapters by their held-out loss, whoever trained them. Implements `core.protocols.HeldOutMeter`."""

import mlx.core as mx

from sq_pipeline.core.base_models import Flux1Model, resolve_base_model, training_base_of
from sq_pipeline.core.protocols import HeldOutLosses, HeldOutRequest
from sq_pipeline.engines.dataset_encoding import encode_held_out
from sq_pipeline.engines.held_out import HeldOutLoss
from sq_pipeline.engines.lora_layers import Wardrobe
from sq_pipeline.engines.lora_trainer import settings_for
from sq_pipeline.engines.training_base import open_training_base
from sq_pipeline.storage.layout import DataDir


class MlxHeldOutMeter:
    """The `HeldOutMeter` over the base models of a data directory."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def measure(self, request: HeldOutRequest) -> HeldOutLosses | None:
        """None where no picture is held out, and for other families. Raises BaseModelError, AdapterError."""
        base_model = training_base_of(resolve_base_model(request.base_model))
        if not isinstance(base_model, Flux1Model):
            return None
        base = open_training_base(base_model, self._data)
        dataset = encode_held_out(base, request.examples, request.recipe)
        if dataset is None:
            return None
        base.encoders.free()
        network = base.load_network(settings_for(request.recipe, base.base_model, request.examples))
        meter = HeldOutLoss(dataset, request.recipe, base.time_curve)
        wardrobe = Wardrobe(network)
        losses: list[float] = []
        for path, scale in [(None, 1.0), *((use.path, use.lora_scale) for use in request.adapters)]:
            wardrobe.wear(path, scale)
            loss = meter.measure(network)
            assert loss is not None
            losses.append(loss)
            mx.clear_cache()
        return HeldOutLosses(losses[0], tuple(losses[1:]), meter.pairs)
