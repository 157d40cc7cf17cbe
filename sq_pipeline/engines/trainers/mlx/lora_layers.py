"""LoRA layers over the BFL network, and the file that mlx-examples' FLUX.1 trainer writes of them.

Format (mlx-examples, `flux/dreambooth.py`): for each linear layer of the blocks `<module>.lora_a` (inputs,
rank) and `<module>.lora_b` (rank, outputs), the update is `x @ lora_a @ lora_b`, scale 1, no alpha;
metadata `lora_rank` and `lora_blocks` (−1: all).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.adapters.form import Patch, UpdateSource, parts_of
from sq_pipeline.adapters.safetensors_file import open_safetensors, write_safetensors
from sq_pipeline.adapters.tensor_header import TensorInfo
from sq_pipeline.base_models.flux_modules import pattern_faults
from sq_pipeline.common.errors import AdapterError, Fault, TrainingError
from sq_pipeline.engines.flux.network import Flux
from sq_pipeline.engines.module_paths import put_module
from sq_pipeline.engines.trainers.mlx.array_bits import array_of
from sq_pipeline.training.recipe import Recipe

_LINEAR = (nn.Linear, nn.QuantizedLinear)


class LoRALinear(nn.Module):
    """A frozen linear layer plus `update_scale` times a low-rank update that starts at zero (Hu et al. 2021, 4.1).

    The layer may be quantized (Dettmers et al. 2023, "QLoRA"). The matrices are float32.
    """

    def __init__(self, linear: nn.Linear | nn.QuantizedLinear, rank: int, update_scale: float = 1.0) -> None:
        super().__init__()
        inputs, outputs = _widths(linear)
        bound = inputs**-0.5
        self.update_scale = update_scale
        self.linear = linear
        self.lora_a = mx.random.uniform(-bound, bound, (inputs, rank))
        self.lora_b = mx.zeros((rank, outputs))

    def __call__(self, x: mx.array) -> mx.array:
        update = (x @ self.lora_a.astype(x.dtype)) @ self.lora_b.astype(x.dtype)
        if self.update_scale != 1:
            update = self.update_scale * update
        # a float32 update must not turn a bfloat16 stream into float32
        return self.linear(x) + update.astype(x.dtype)


def _widths(linear: nn.Linear | nn.QuantizedLinear) -> tuple[int, int]:
    """Inputs and outputs; a quantized weight is packed, its scales are one for a group of inputs."""
    outputs, inputs = linear.weight.shape
    if isinstance(linear, nn.QuantizedLinear):
        inputs = linear.scales.shape[1] * linear.group_size
    return inputs, outputs


def block_linears(network: Flux) -> Iterator[tuple[str, nn.Linear | nn.QuantizedLinear]]:
    """The linear layers of all blocks by their BFL names, in the order in which adapters draw their random numbers."""
    for stem in ("double_blocks", "single_blocks"):
        for index, block in enumerate(getattr(network, stem)):
            linears = [(name, module) for name, module in block.named_modules() if isinstance(module, _LINEAR)]
            for name, module in sorted(linears, key=lambda pair: pair[0]):
                yield f"{stem}.{index}.{name}", module


def add_lora(
    network: Flux, rank: int, *, covers: Callable[[str], bool] = lambda _: True, update_scale: float = 1.0
) -> int:
    """Put a LoRA on the linear layers of the blocks that `covers` says, freeze the rest; returns how many got one."""
    network.freeze()
    covered = [(name, linear) for name, linear in block_linears(network) if covers(name)]
    for name, linear in covered:
        layer = LoRALinear(linear, rank, update_scale)
        layer.linear.freeze()
        put_module(network, name, layer)
    return len(covered)


def add_recipe_lora(network: Flux, recipe: Recipe) -> int:
    """`add_lora` with the recipe's rank, modules and alpha. Raises TrainingError with every pattern without a layer."""
    if faults := tuple(pattern_faults(recipe.modules, [name for name, _ in block_linears(network)])):
        raise TrainingError(faults)
    return add_lora(network, recipe.rank, covers=recipe.covers, update_scale=recipe.scale)


def load_adapter(path: Path) -> dict[str, tuple[mx.array, mx.array]]:
    """`lora_a` and `lora_b` of each module of an MLX adapter's file. Raises AdapterError for what is no such file."""
    file = open_safetensors(path)
    modules = sorted({name.rpartition(".")[0] for name in file.tensors})
    wanted = {f"{module}.{matrix}" for module in modules for matrix in ("lora_a", "lora_b")}
    if odd := sorted(wanted ^ file.tensors.keys()):
        hint = "name an adapter as mlx-examples or this trainer writes it"
        raise AdapterError(Fault(str(path), name, "is no pair of lora_a and lora_b", hint) for name in odd)
    arrays = {name: array_of(info, file.read(name)).astype(mx.float32) for name, info in file.tensors.items()}
    return {module: (arrays[f"{module}.lora_a"], arrays[f"{module}.lora_b"]) for module in modules}


class AdapterSwitch:
    """Puts one adapter after another on a network that bears none yet."""

    def __init__(self, network: Flux) -> None:
        self._network, self._bare = network, dict(block_linears(network))

    def apply(self, path: Path | None, scale: float = 1.0) -> None:
        """Let exactly this adapter apply, `scale` strong; None: none. Raises AdapterError, and leaves none on."""
        for name, linear in self._bare.items():
            put_module(self._network, name, linear)
        matrices = load_adapter(path) if path is not None else {}
        for name, (lora_a, lora_b) in matrices.items():
            linear = self._bare.get(name)
            if linear is None or _widths(linear) != (lora_a.shape[0], lora_b.shape[1]):
                raise AdapterError(Fault(str(path), name, "is no layer of this base model", "is it another model's?"))
        for name, (lora_a, lora_b) in matrices.items():
            layer = LoRALinear(self._bare[name], lora_a.shape[1], scale)
            layer.lora_a, layer.lora_b = lora_a, lora_b
            put_module(self._network, name, layer)

    def apply_updates(self, source: UpdateSource, scale: float = 1.0) -> None:
        """Let exactly what an opened adapter adds apply, whatever its dialect; parts of a module are put together.

        Updates of modules outside of the blocks, which this network does not train, are left out. Raises AdapterError
        for one of other widths than its layer's, and leaves none on.
        """
        self.apply(None)
        by_module: dict[str, list[Patch]] = {}
        for patch in source.patches.values():
            if patch.module in self._bare:
                by_module.setdefault(patch.module, []).append(patch)
        layers = {name: self._layer_of(name, patches, source, scale) for name, patches in by_module.items()}
        for name, layer in layers.items():
            put_module(self._network, name, layer)

    def _layer_of(self, name: str, patches: Sequence[Patch], source: UpdateSource, scale: float) -> LoRALinear:
        linear = self._bare[name]
        inputs, outputs = _widths(linear)
        rows, shares = {"": slice(0, outputs)}, parts_of(name)
        unit, start = outputs // (sum(share for _, share in shares) or 1), 0
        for part, share in shares:
            rows[part] = slice(start, start + unit * share)
            start += unit * share
        downs: list[npt.NDArray[np.float32]] = []
        ups: list[npt.NDArray[np.float32]] = []
        for patch in patches:
            taken = rows[patch.part]
            if (patch.down.columns, patch.up.rows) != (inputs, taken.stop - taken.start):
                raise AdapterError(Fault("", patch.slot, "is no layer of this base model", "is it another model's?"))
            up = np.zeros((outputs, patch.rank), np.float32)
            up[taken] = source.numbers(patch.up) * np.float32(patch.scale)
            ups.append(up)
            downs.append(source.numbers(patch.down))
        layer = LoRALinear(linear, sum(patch.rank for patch in patches), scale)
        layer.lora_a = mx.array(np.concatenate(downs, axis=0).T)
        layer.lora_b = mx.array(np.concatenate(ups, axis=1).T)
        return layer


def adapter_tensors(network: Flux) -> dict[str, mx.array]:
    """The adapter's tensors under mlx-examples' names. The format knows no alpha: the scale is in `lora_b`."""
    tensors = dict(tree_flatten(network.trainable_parameters()))
    for name, module in network.named_modules():
        if isinstance(module, LoRALinear) and module.update_scale != 1:
            tensors[f"{name}.lora_b"] = module.update_scale * tensors[f"{name}.lora_b"]
    return tensors


def save_adapter(path: Path, network: Flux, rank: int) -> int:
    """Write the adapter in float32, whole or not at all; returns the number of tensors. Raises StorageError."""
    tensors = adapter_tensors(network)
    layout = [TensorInfo(name, "F32", array.shape) for name, array in sorted(tensors.items())]
    bits = ((info, np.array(tensors[info.name].astype(mx.float32)).view(np.uint32)) for info in layout)
    write_safetensors(path, bits, layout, {"lora_rank": str(rank), "lora_blocks": "-1"})
    return len(tensors)
