"""The registry of base models: the sum of the families' files, found by name or alias.

Not here: a model's facts (a file a family), finding or loading its weights (`engines.factory`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from sq_pipeline.base_models import flux1, flux2, tiny_flux, z_image
from sq_pipeline.base_models.record import (
    FAMILY_NAMES,
    RENDER_BITS,
    BaseModel,
    Dtype,
    Family,
    Flux1Model,
    QwenModel,
    RenderBits,
    RenderSettings,
    SizePx,
    bits_suffix,
)
from sq_pipeline.common.errors import BaseModelError, Fault

__all__ = [
    "BASE_MODELS",
    "DEFAULT_BASE_MODEL",
    "FAMILY_NAMES",
    "FLUX1_MODELS",
    "QWEN_MODELS",
    "RENDER_BITS",
    "BaseModel",
    "Dtype",
    "Family",
    "Flux1Model",
    "QwenModel",
    "RenderBits",
    "RenderSettings",
    "SizePx",
    "as_flux1",
    "known_names",
    "quantized",
    "resolve_base_model",
    "training_base_of",
]

FLUX1_MODELS: Mapping[str, Flux1Model] = {model.name: model for model in (*tiny_flux.MODELS, *flux1.MODELS)}
QWEN_MODELS: Mapping[str, QwenModel] = {model.name: model for model in (*z_image.MODELS, *flux2.MODELS)}
BASE_MODELS: Mapping[str, BaseModel] = {**FLUX1_MODELS, **QWEN_MODELS}
DEFAULT_BASE_MODEL = "tiny-flux"

_Model = TypeVar("_Model", bound=BaseModel)


def quantized(base_model: _Model, bits: RenderBits) -> _Model:
    """The sibling `<name>-8bit` or `<name>-4bit`, with aliases likewise: the same files, quantized when loaded."""
    ending = bits_suffix(bits)
    names = tuple(alias + ending for alias in base_model.aliases)
    return replace(base_model, name=base_model.name + ending, aliases=names, render_bits=bits)


def resolve_base_model(name: str) -> BaseModel:
    """The base model with that name or alias (case does not count), quantized where the name ends so.

    Raises BaseModelError for any other.
    """
    wanted = name.strip().lower()
    bits: RenderBits | None = next((bits for bits in RENDER_BITS if wanted.endswith(bits_suffix(bits))), None)
    plain = wanted if bits is None else wanted.removesuffix(bits_suffix(bits))
    for model in BASE_MODELS.values():
        if plain == model.name or plain in model.aliases:
            return model if bits is None else quantized(model, bits)
    problem = f"unknown base model {name!r}"
    raise BaseModelError(Fault("", "preferred_model", problem, f"use one of {known_names()}"))


def known_names() -> str:
    """The names that `resolve_base_model` knows, for an error's text."""
    endings = " or ".join(map(bits_suffix, RENDER_BITS))
    return f"{', '.join(sorted(BASE_MODELS))}, or one with {endings} after it"


def training_base_of(base_model: BaseModel) -> BaseModel:
    """What adapters for a base model are trained over: itself unquantized, or its undistilled sibling.

    Raises BaseModelError.
    """
    if base_model.trained_over is None and base_model.render_bits is None:
        return base_model
    return resolve_base_model(base_model.trained_over or base_model.files_name)


def as_flux1(base_model: BaseModel, wanted_for: str) -> Flux1Model:
    """The base model as a FLUX.1; raises BaseModelError, which names what it was `wanted_for`, for any other family."""
    if isinstance(base_model, Flux1Model):
        return base_model
    known = ", ".join(FLUX1_MODELS)
    problem = f"{base_model.name} is a {FAMILY_NAMES[base_model.family]}: {wanted_for} is for FLUX.1 alone"
    raise BaseModelError(Fault("", "base_model", problem, f"use one of {known}"))
