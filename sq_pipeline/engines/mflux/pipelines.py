"""A base model loaded into mflux, whatever its family: its transformer, and a picture of a request.

Not here: adapters (`adapter_stack`), checks of a request and results (`mflux.renderer`).
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mflux.callbacks.callback_registry import CallbackRegistry
from mflux.models.common.config.model_config import AVAILABLE_MODELS
from mflux.models.flux.variants.txt2img.flux import Flux1
from mlx import nn
from PIL import Image

from sq_pipeline.base_models.base_models import BaseModel, QwenModel, RenderBits
from sq_pipeline.common.errors import BaseModelError, Fault
from sq_pipeline.engines.mflux.families import FAMILIES
from sq_pipeline.engines.mflux.prompt_cache import PromptCache, encode_apart
from sq_pipeline.engines.tiny_flux import mflux_build
from sq_pipeline.pictures.ports import RenderRequest


@dataclass(frozen=True)
class Pipeline:
    """`draw` makes one picture with the transformer as it is now; mflux's own exceptions pass through.

    `callbacks` is what mflux calls while it draws.
    """

    transformer: nn.Module
    callbacks: CallbackRegistry
    draw: Callable[[RenderRequest], Image.Image]


def open_pipeline(base_model: BaseModel, folder: Path) -> Pipeline:
    """Load a base model from its folder, and quantize what is to be. Adapters are put on it later, and not baked.

    Raises BaseModelError for tiny-flux and for what is not quantized as `render_bits` says, mflux's own errors for
    the rest.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        pipeline = _open(base_model, folder)
    if base_model.render_bits is not None:
        _insist_on_bits(base_model, base_model.render_bits, pipeline.transformer, folder)
    return pipeline


def _open(base_model: BaseModel, folder: Path) -> Pipeline:
    bits = base_model.render_bits
    try:
        if isinstance(base_model, QwenModel):
            return _open_qwen(base_model, folder)
        if base_model.mflux_name is None:
            return _flux1(mflux_build.build(folder, bits))
        config = AVAILABLE_MODELS[base_model.mflux_name]
        return _flux1(Flux1(quantize=bits, model_config=config, model_path=str(folder)))
    except ValueError as error:
        if not str(error).startswith("[quantize]"):
            raise
        # MLX's word for a layer whose width its groups of 64 do not divide
        raise BaseModelError(Fault(str(folder), "", f"cannot be quantized: {error}", _plainly(base_model))) from error


def _insist_on_bits(base_model: BaseModel, bits: RenderBits, transformer: nn.Module, folder: Path) -> None:
    """Files may be stored quantized: mflux then keeps their bits, whatever it is asked for."""
    others = {
        path: f"{layer.bits} bits" if isinstance(layer, nn.QuantizedLinear) else "not quantized"
        for path, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.QuantizedLinear) and layer.bits != bits)
    }
    if others:
        path, found = min(others.items())
        problem = f"{len(others)} layers have not the {bits} bits of {base_model.name} ({path}: {found})"
        raise BaseModelError(Fault(str(folder), "", problem, _plainly(base_model)))


def _plainly(base_model: BaseModel) -> str:
    return f"use {base_model.files_name}, or its full weights: {base_model.how_to_get}"


def _flux1(flux: Flux1) -> Pipeline:
    flux.prompt_cache = PromptCache()

    def draw(request: RenderRequest) -> Image.Image:
        asked = _arguments(request, no_guidance=0.0)
        if request.clip_prompt is not None:
            asked["prompt"] = encode_apart(flux, request.positive_prompt, request.clip_prompt)
        return flux.generate_image(**asked, negative_prompt=request.negative_prompt).image

    return Pipeline(flux.transformer, flux.callbacks, draw)


def _open_qwen(base_model: QwenModel, folder: Path) -> Pipeline:
    family, config = FAMILIES[base_model.family], AVAILABLE_MODELS[base_model.mflux_name]
    model = family.pipeline(quantize=base_model.render_bits, model_config=config, model_path=str(folder))

    def draw(request: RenderRequest) -> Image.Image:
        asked = _arguments(request, no_guidance=family.no_guidance)
        if family.takes_negative_prompt:
            asked["negative_prompt"] = request.negative_prompt
        return model.generate_image(**asked).image

    return Pipeline(model.transformer, model.callbacks, draw)


def _arguments(request: RenderRequest, *, no_guidance: float) -> dict[str, Any]:
    """What all of mflux's `generate_image` take; `no_guidance` stands for a request without one."""
    return {
        "seed": request.seed,
        "prompt": request.positive_prompt,
        "num_inference_steps": request.num_inference_steps,
        "height": request.height_px,
        "width": request.width_px,
        "guidance": no_guidance if request.guidance is None else request.guidance,
    }
