"""What a training needs of a base model: its encoders, its transformer in the BFL layout, its times. Loads nothing yet.

Here: one door for tiny-flux and FLUX.1. Not here: the encoders and weights themselves (`flux`, `tiny_flux`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mflux.models.common.config.config import Config
from mflux.models.common.config.model_config import AVAILABLE_MODELS, ModelConfig

from sq_pipeline.base_models import files
from sq_pipeline.base_models.base_models import BaseModel, Flux1Model, SizePx
from sq_pipeline.common.errors import BaseModelError
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import blas
from sq_pipeline.engines.device_memory import computing_dtype
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.flux.timestep_sampling import TimeCurve, logit_normal, quarters, shifted_uniform
from sq_pipeline.engines.flux.training_parts import open_flux_parts
from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.engines.tiny_flux import model as tiny_model
from sq_pipeline.engines.tiny_flux.encoders import TinyEncoders
from sq_pipeline.engines.trainers.mlx.support import family_fault
from sq_pipeline.training.memory import TrainingSettings, training_dtype

Pixels = npt.NDArray[np.uint8]


class Encoders(Protocol):
    """Text and pictures to what the transformer reads, and back. Networks are loaded when they are first needed."""

    def encode_groups(self, groups: Sequence[Sequence[str]]) -> list[tuple[mx.array, mx.array]]:
        """For each group text (captions, tokens, width) and pooled text (captions, width). Groups are not empty."""
        ...

    def encode_pictures(self, pixels: Pixels) -> mx.array:
        """RGB pictures (pictures, height, width, 3) → latent tokens (pictures, rows · columns, 64), float32."""
        ...

    def decode(self, tokens: mx.array, grid: tuple[int, int]) -> Pixels:
        """The inverse of `encode_pictures`, about."""
        ...

    def free(self) -> None:
        """Give back the memory of all networks."""
        ...


@dataclass(frozen=True)
class TrainingBase:
    """One base model, ready to be loaded: `load_network` gives the transformer, frozen, with such settings.

    `dtype` is what texts and the transformer compute in; `time_curve` says which times are trained at.
    """

    base_model: Flux1Model
    dtype: mx.Dtype
    time_curve: TimeCurve
    encoders: Encoders
    load_network: Callable[[TrainingSettings], Flux]
    config: ModelConfig

    def sigmas(self, size: SizePx) -> list[float]:
        """The times at which a picture is made, from 1 to 0, as mflux's own schedule has them."""
        config = Config(
            width=size.width_px,
            height=size.height_px,
            guidance=0.0,
            scheduler="linear",
            model_config=self.config,
            num_inference_steps=self.base_model.num_inference_steps,
        )
        return config.scheduler.sigmas.tolist()


def open_training_base(base_model: BaseModel, data: DataDir) -> TrainingBase:
    """Check that all of it is there, by its headers; raises BaseModelError with every fault."""
    if not isinstance(base_model, Flux1Model):
        raise BaseModelError(family_fault(base_model) or "this trainer trains FLUX.1 alone")
    blas.use_threads_for(base_model)
    return _open_tiny(base_model, data) if base_model.mflux_name is None else _open_flux(base_model, data)


def _dtype_of(base_model: Flux1Model) -> mx.Dtype:
    """By what the memory of a training is counted with."""
    return {"float32": mx.float32, "bfloat16": mx.bfloat16}[training_dtype(base_model, computing_dtype())]


def _open_flux(base_model: Flux1Model, data: DataDir) -> TrainingBase:
    dtype = _dtype_of(base_model)
    parts = open_flux_parts(base_model, data, dtype)

    def load_network(settings: TrainingSettings) -> Flux:
        network = parts.load_network(None if settings.base_bits == 16 else settings.base_bits)
        network.checkpoints_blocks = settings.gradient_checkpointing
        return network

    return TrainingBase(
        base_model=base_model,
        dtype=dtype,
        time_curve=quarters if base_model.guidance is None else shifted_uniform,
        encoders=parts.encoders,
        load_network=load_network,
        config=AVAILABLE_MODELS[base_model.mflux_name],
    )


def _open_tiny(base_model: Flux1Model, data: DataDir) -> TrainingBase:
    folder = files.base_model_folder(base_model, data)
    encoders = TinyEncoders(folder)

    def load_network(settings: TrainingSettings) -> Flux:
        network = encoders.transformer()
        network.checkpoints_blocks = settings.gradient_checkpointing
        return network

    return TrainingBase(
        base_model=base_model,
        dtype=_dtype_of(base_model),
        time_curve=logit_normal(tiny_model.TIME_SHIFT, tiny_model.TIME_SPREAD),
        encoders=encoders,
        load_network=load_network,
        config=mflux_build.model_config(),
    )
