"""FLUX.1's modules as loaders know them: the linear layers of diffusers and mflux, and the BFL module each is part of.

Written out here a second time on purpose: the judge of a remap must not take its names from the remap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sq_pipeline.base_models.base_models import Flux1Model
from sq_pipeline.base_models.flux_modules import modules_of

Update = npt.NDArray[np.float64]  # what is added to a weight: (outputs, inputs)
Naming = Literal["diffusers", "mflux"]

# BFL's kind of module: diffusers' layers, in the order of the fused module's outputs
_DIFFUSERS: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.layers.0": ("ff.net.0.proj",),
    "img_mlp.layers.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.layers.0": ("ff_context.net.0.proj",),
    "txt_mlp.layers.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
_BLOCKS = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}
_MFLUX_WORDS = {"net.0.proj": "linear1", "net.2": "linear2"}


@dataclass(frozen=True)
class Layer:
    """One linear layer of a loader: its path, and the rows `start:end` of the BFL module's outputs that it makes."""

    module: str
    part: str  # q, k, v or mlp; empty where the layer is the whole module
    path: str
    inputs: int
    start: int
    end: int

    @property
    def outputs(self) -> int:
        """Rows of the layer's weight."""
        return self.end - self.start

    @property
    def slot(self) -> str:
        """Module and part, as one name."""
        return f"{self.module}.{self.part}" if self.part else self.module


def layers_of(base_model: Flux1Model, naming: Naming) -> list[Layer]:
    """Every layer of the base model's blocks: 14 a double block, 6 a single block."""
    layers: list[Layer] = []
    for module, inputs, outputs in modules_of(base_model):
        stem, index, kind = module.split(".", 2)
        paths = _DIFFUSERS[kind]
        start = 0
        for position, tail in enumerate(paths):
            is_last = position == len(paths) - 1
            end = outputs if is_last else start + base_model.hidden_size
            for word, own_word in _MFLUX_WORDS.items() if naming == "mflux" else ():
                tail = tail.replace(word, own_word)
            part = ("q", "k", "v", "mlp")[position] if len(paths) > 1 else ""
            layers.append(Layer(module, part, f"{_BLOCKS[stem]}.{index}.{tail}", inputs, start, end))
            start = end
    return layers


def no_update(base_model: Flux1Model) -> dict[str, Update]:
    """Zeros for every module."""
    return {module: np.zeros((outputs, inputs)) for module, inputs, outputs in modules_of(base_model)}


def put_together(
    base_model: Flux1Model, layers: Iterable[Layer], deltas: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Update]:
    """The modules' updates from those of layers, by path; layers without one count as zero. Shapes must fit."""
    updates = no_update(base_model)
    for layer in layers:
        if layer.path in deltas:
            delta = deltas[layer.path]
            assert delta.shape == (layer.outputs, layer.inputs), (layer.path, delta.shape)
            updates[layer.module][layer.start : layer.end] = delta
    return updates
