"""MLX's own quantization of a base model under adapters: 8 or 4 bits in groups of 64, a scale and a bias a group.

Quantized are the linear layers of the blocks, 99 % of FLUX.1's weights (as QLoRA does; Dettmers et al. 2023). In full
precision stay the layers before and after the blocks (latents, text, time, guidance, the final layer), whose error no
adapter could make good and which weigh little, the norms, and all biases, which are added, not multiplied.

Here: making the layers, filling them one weight at a time. Not here: reading weights (`weights`).
"""

from typing import Literal

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.module_paths import get_module, put_module

GROUP_SIZE = 64
Bits = Literal[8, 4]


def quantize_blocks(network: Flux, bits: Bits) -> None:
    """Replace the linear layers of the blocks by quantized ones, frozen.

    Lazy: weights of the network that were not evaluated cost nothing, and are best replaced by `fill_quantized`.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and name.startswith(("double_blocks.", "single_blocks.")):
            put_module(network, name, module.to_quantized(GROUP_SIZE, bits))


def fill_quantized(network: Flux, parameter: str, weight: mx.array) -> bool:
    """Quantize `weight` (outputs, inputs) into its layer and evaluate it; False when the layer is not quantized."""
    name, _, kind = parameter.rpartition(".")
    layer = get_module(network, name)
    if kind != "weight" or not isinstance(layer, nn.QuantizedLinear):
        return False
    layer.weight, layer.scales, layer.biases = mx.quantize(weight, group_size=GROUP_SIZE, bits=layer.bits)
    mx.eval(layer.weight, layer.scales, layer.biases)
    return True


def weights_bytes(network: nn.Module) -> int:
    """Bytes that the parameters take in memory."""
    return sum(array.nbytes for _, array in tree_flatten(network.parameters()))
