"""The validation loss: pictures that were never trained on, at fixed noise and times, so that losses can be compared.

Not here: which pictures those are (`training.validation_split`).
"""

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from sq_pipeline.base_models.base_models import Flux1Model, training_base_of
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines.device_memory import computing_dtype, usable_bytes
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.timestep_sampling import TimeCurve
from sq_pipeline.engines.trainers.mlx.base import open_training_base
from sq_pipeline.engines.trainers.mlx.dataset_encoding import encode_looks, encode_validation
from sq_pipeline.engines.trainers.mlx.encoded_dataset import EncodedDataset
from sq_pipeline.engines.trainers.mlx.loop import flow_matching_loss
from sq_pipeline.engines.trainers.mlx.lora_layers import AdapterSwitch
from sq_pipeline.training.plan import crops_of, plan_training
from sq_pipeline.training.ports import ValidationLosses, ValidationRequest
from sq_pipeline.training.recipe import Recipe
from sq_pipeline.verification.ports import LossRequest

_SEED = 20


_TIMES_EACH = 2


class ValidationLoss:
    """Measures one network again and again. Each picture is looked at with two times; those of all pictures lie at even
    shares of what is trained at. Where pictures are trained under the bare trigger too, one look has that caption.
    """

    def __init__(self, dataset: EncodedDataset, recipe: Recipe, time_curve: TimeCurve) -> None:
        self._text, self._pooled, self._recipe = dataset.text, dataset.pooled, recipe
        numbers = np.random.default_rng(_SEED)
        pictures = sum(len(bucket.latent_of) for bucket in dataset.validation)
        shares = (np.arange(pictures * _TIMES_EACH) + 0.5) / max(1, pictures * _TIMES_EACH)
        shares = numbers.permutation(shares)
        self._looks: list[tuple[mx.array, mx.array, mx.array, mx.array, tuple[int, int]]] = []
        for bucket in dataset.validation:
            for latent, caption in zip(bucket.latent_of, bucket.caption_of, strict=True):
                latents = mx.repeat(bucket.latents[latent : latent + 1], _TIMES_EACH, axis=0)
                noise = mx.array(numbers.standard_normal(latents.shape).astype(np.float32))
                mine, shares = shares[:_TIMES_EACH], shares[_TIMES_EACH:]
                times = mx.array(time_curve(mine, latents.shape[1]).astype(np.float32))
                captions = [caption] * _TIMES_EACH
                if dataset.bare is not None:
                    captions[0] = dataset.bare
                self._looks.append((latents, noise, times, mx.array(captions), bucket.grid))
        self.pairs = pictures

    def measure(self, network: Flux) -> float | None:
        """The mean loss over all looks; None where no picture is held out."""
        if not self._looks:
            return None
        guidance = mx.full((_TIMES_EACH,), self._recipe.guidance)  # read only by models that take one
        losses: list[float] = []
        for latents, noise, times, captions, grid in self._looks:
            text, pooled = self._text[captions], self._pooled[captions]
            loss = flow_matching_loss(network, latents, noise, times, text, pooled, grid, guidance)
            losses.append(loss.item())  # one look's memory at a time
        return sum(losses) / len(losses)


class MlxValidationMeter:
    """The `ValidationMeter` over the base models of a data directory."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def measure(self, request: ValidationRequest) -> ValidationLosses | None:
        """None where no picture is held out, and for other families. Raises BaseModelError, AdapterError."""
        plan = request.plan
        if not isinstance(plan.base_model, Flux1Model):
            return None
        base = open_training_base(plan.base_model, self._data)
        dataset = encode_validation(base, request.examples, plan)
        if dataset is None:
            return None
        base.encoders.free()
        network = base.load_network(plan.settings(usable_bytes(), computing_dtype()))
        meter = ValidationLoss(dataset, request.recipe, base.time_curve)
        switch = AdapterSwitch(network)
        losses: list[float] = []
        for path, scale in [(None, 1.0), *((use.path, use.lora_scale) for use in request.adapters)]:
            switch.apply(path, scale)
            loss = meter.measure(network)
            assert loss is not None
            losses.append(loss)
            mx.clear_cache()
        return ValidationLosses(losses[0], tuple(losses[1:]), meter.pairs)

    def measure_losses(self, request: LossRequest) -> Sequence[tuple[float, ...]] | None:
        """As `LossMeter` says: encoders and network are loaded once, whatever the number of captions and adapters."""
        model = training_base_of(request.base_model)
        if not isinstance(model, Flux1Model):
            return None
        base = open_training_base(model, self._data)
        recipe = Recipe(guidance=request.guidance, background=request.background)
        crops = crops_of(recipe, request.size)
        datasets = encode_looks(base, request.pictures, request.captions, crops)
        base.encoders.free()
        plan = plan_training(recipe, model.name, [])
        network = base.load_network(plan.settings(usable_bytes(), computing_dtype()))
        meters = [ValidationLoss(dataset, recipe, base.time_curve) for dataset in datasets]
        switch = AdapterSwitch(network)
        losses: list[list[float]] = [[] for _ in meters]
        for adapter in (None, *request.adapters):
            if adapter is not None:
                switch.apply_updates(*adapter)
            for meter, found in zip(meters, losses, strict=True):
                loss = meter.measure(network)
                assert loss is not None
                found.append(loss)
            mx.clear_cache()
        return [tuple(found) for found in losses]
