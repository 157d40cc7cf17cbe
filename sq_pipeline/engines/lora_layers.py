"""LoRA layers over the BFL network, and the file that mlx-examples' FLUX.1 trainer writes of them.

Format (mlx-examples, `flux/dreambooth.py`): for each linear layer of the blocks `<module>.lora_a` (inputs,
rank) and `<module>.lora_b` (rank, outputs), the update is `x @ lora_a @ lora_b`, scale 1, no alpha;
metadata `lora_rank` and `lora_blocks` (−1: all).
"""

from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.core.adapter_header import TensorInfo
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.storage.safetensors_file import write_safetensors


class LoRALinear(nn.Module):
    """A frozen linear layer plus a low-rank update that starts at zero (Hu et al. 2021, section 4.1)."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        outputs, inputs = linear.weight.shape
        bound = inputs**-0.5
        self.linear = linear
        self.lora_a = mx.random.uniform(-bound, bound, (inputs, rank))
        self.lora_b = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        # a float32 update must not turn a bfloat16 stream into float32
        return self.linear(x) + ((x @ self.lora_a) @ self.lora_b).astype(x.dtype)


def add_lora(network: Flux, rank: int) -> int:
    """Put a LoRA on every linear layer of every block, freeze the rest; returns how many layers got one."""
    network.freeze()
    count = 0
    for block in [*network.double_blocks, *network.single_blocks]:
        linears = [(name, module) for name, module in block.named_modules() if isinstance(module, nn.Linear)]
        for name, module in sorted(linears):
            parent: nn.Module = block
            *way, last = name.split(".")
            for part in way:
                parent = parent[int(part)] if isinstance(parent, list) else getattr(parent, part)
            layer = LoRALinear(module, rank)
            layer.linear.freeze()
            if isinstance(parent, list):
                parent[int(last)] = layer
            else:
                setattr(parent, last, layer)
            count += 1
    return count


def adapter_tensors(network: Flux) -> dict[str, mx.array]:
    """The adapter's tensors under mlx-examples' names."""
    return dict(tree_flatten(network.trainable_parameters()))


def save_adapter(path: Path, network: Flux, rank: int) -> int:
    """Write the adapter in float32, whole or not at all; returns the number of tensors. Raises StorageError."""
    tensors = adapter_tensors(network)
    layout = [TensorInfo(name, "F32", array.shape) for name, array in sorted(tensors.items())]
    bits = ((info, np.array(tensors[info.name].astype(mx.float32)).view(np.uint32)) for info in layout)
    write_safetensors(path, bits, layout, {"lora_rank": str(rank), "lora_blocks": "-1"})
    return len(tensors)
