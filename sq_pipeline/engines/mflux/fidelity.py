"""Measuring what mflux's own LoRA loader really applies, layer by layer, against what the adapter's source says.

Each layer is loaded by itself, into a linear layer of its shape at its place: that is all the memory it takes, and no
base model is needed unless the update is to be baked. Not here: what counts as good (`verification.verdicts`).
"""

import contextlib
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mflux.models.common.lora.layer.fused_linear_lora_layer import FusedLoRALinear
from mflux.models.common.lora.layer.linear_lora_layer import LoRALinear
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mflux.models.common.lora.mapping.lora_saver import LoRASaver
from mlx import nn

from sq_pipeline.adapters.form import UpdateSource
from sq_pipeline.adapters.safetensors_file import open_safetensors
from sq_pipeline.base_models.base_models import Dtype
from sq_pipeline.common.layout import DataDir
from sq_pipeline.engines import machine
from sq_pipeline.engines.mflux.base_weights import WeightOf, open_weights, weights_norm
from sq_pipeline.engines.mflux.dtype import rendering_dtype
from sq_pipeline.engines.mflux.flux_layers import MfluxLayer
from sq_pipeline.engines.mflux.loader_targets import layers_of, mapping_for, match_keys, narrow
from sq_pipeline.engines.mflux.update_norms import (
    Piece,
    WantedUpdate,
    nothing_wanted,
    pieces_of,
    sum_up,
    unplaced_update,
    wanted_update,
)
from sq_pipeline.engines.module_paths import get_module, grow_tree
from sq_pipeline.verification.fidelity import FidelityReport, LayerFidelity, compare, missed
from sq_pipeline.verification.ports import FidelityRequest

_DTYPES: dict[Dtype, mx.Dtype] = {"float32": mx.float32, "bfloat16": mx.bfloat16}
_GROUP_SIZE = 64  # mflux quantizes in groups of so many inputs


class _Silent(nn.Module):
    """A linear layer whose weights are all zero, without the weights and the time to multiply by them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self._outputs = outputs

    def __call__(self, x: mx.array) -> mx.array:
        return mx.zeros((*x.shape[:-1], self._outputs), x.dtype)


@dataclass(frozen=True)
class _Bench:
    """One request, made ready. `weight_of` is None where nothing is baked, `bits` where no layer is quantized."""

    request: FidelityRequest
    mapping: list[LoRATarget]
    dtype: mx.Dtype
    weight_of: WeightOf | None
    bits: int | None

    def load(self, layer: MfluxLayer, keys: Collection[str], linear: nn.Module) -> nn.Module:
        """A tree with the layer in it, as mflux's loader leaves it; ValueError or RuntimeError where it refuses."""
        tree = grow_tree(layer.path, linear)
        use = self.request.adapter
        with contextlib.redirect_stdout(io.StringIO()):
            LoRALoader.load_and_apply_lora(
                lora_mapping=narrow(self.mapping, layer.path, keys),
                transformer=tree,
                lora_paths=[str(use.path)],
                lora_scales=[use.lora_scale],
                bake_lora=False,
            )
        return tree

    def measure(self, layer: MfluxLayer, keys: Collection[str]) -> LayerFidelity | None:
        """The figures of one layer; None where nothing is wanted and the file does not name it."""
        wanted = wanted_update(layer, self.request.source, self.request.adapter.lora_scale)
        if isinstance(wanted, str):
            return missed(layer.path, layer.slot, float("nan"), wanted)
        if not keys:
            return None if wanted is None else missed(layer.path, layer.slot, wanted.norm)
        slot = "" if wanted is None else layer.slot
        wanted = wanted or nothing_wanted(layer.outputs, layer.inputs)
        try:
            return (
                self._measure_unbaked(layer, slot, keys, wanted)
                if self.weight_of is None
                else self._measure_baked(layer, slot, keys, wanted, self.weight_of(layer))
            )
        except (ValueError, RuntimeError) as error:
            problem = f"{layer.path}: mflux did not apply it: {str(error).splitlines()[0]}"
            return missed(layer.path, slot, wanted.norm, problem)

    def _linear(self, weight: mx.array) -> nn.Module:
        linear = nn.Linear(1, 1, bias=False)
        linear.weight = weight
        if self.bits is None:
            return linear
        return nn.QuantizedLinear.from_linear(linear, group_size=_GROUP_SIZE, bits=self.bits)

    def _measure_unbaked(
        self, layer: MfluxLayer, slot: str, keys: Collection[str], wanted: WantedUpdate
    ) -> LayerFidelity:
        # lazy: only its shape is looked at
        linear = self._linear(mx.zeros((layer.outputs, layer.inputs), self.dtype))
        patched = get_module(self.load(layer, keys, linear), layer.path)
        _silence(patched, layer.outputs)
        # rows of the identity go in, so what comes out is the update itself, turned as x @ W.T turns it
        squares, overlap = sum_up(wanted.transposed(), _answers(patched, layer, self.dtype))
        return compare(layer.path, slot, squares, overlap, wanted.unit)

    def _measure_baked(
        self, layer: MfluxLayer, slot: str, keys: Collection[str], wanted: WantedUpdate, weight: mx.array
    ) -> LayerFidelity:
        linear = self._linear(weight.astype(self.dtype))
        mx.eval(linear.parameters())
        before = _reader(linear)
        tree, kept = self.load(layer, keys, linear), list[float]()
        with contextlib.redirect_stdout(io.StringIO()):
            # what the loader itself does when it is asked to bake, with the figure that it would only print
            LoRASaver.bake_and_strip_lora(tree, kept=kept)
        after = _reader(get_module(tree, layer.path))
        moved = ((rows, np.array(after(rows) - before(rows))) for rows in pieces_of(layer.outputs, layer.inputs))
        squares, overlap = sum_up(wanted, moved)
        return compare(layer.path, slot, squares, overlap, wanted.unit, kept[0] if kept else None)


def _silence(patched: nn.Module, outputs: int) -> None:
    """Leave nothing of a patched layer but its update."""
    if isinstance(patched, LoRALinear):
        patched.linear = _Silent(outputs)
    elif isinstance(patched, FusedLoRALinear):
        patched.base_linear = _Silent(outputs)


def _reader(linear: nn.Module) -> Callable[[slice], mx.array]:
    """Rows of the weight that a linear layer has now, as float32; a later bake into the layer does not change them."""
    if not isinstance(linear, nn.QuantizedLinear):
        weight = linear.weight
        return lambda rows: weight[rows].astype(mx.float32)
    codes, scales, biases = linear.weight, linear.scales, linear.biases
    layout = {"group_size": linear.group_size, "bits": linear.bits, "mode": linear.mode}
    return lambda rows: mx.dequantize(codes[rows], scales[rows], biases[rows], **layout, dtype=mx.float32)


def _answers(patched: nn.Module, layer: MfluxLayer, dtype: mx.Dtype) -> Iterator[Piece]:
    for rows in pieces_of(layer.inputs, max(layer.inputs, layer.outputs)):
        asked = mx.eye(rows.stop - rows.start, layer.inputs, k=rows.start, dtype=dtype)
        answer = patched(asked)
        if answer.shape != (rows.stop - rows.start, layer.outputs):
            raise ValueError(f"the patched layer gives {answer.shape[-1]} outputs, {layer.outputs} are wanted")
        yield rows, np.array(answer.astype(mx.float32))


class MfluxFidelityMeter:
    """The `FidelityMeter` of `verification.ports` over the installed mflux."""

    def __init__(self, data: DataDir) -> None:
        self._data = data

    def measure(self, request: FidelityRequest) -> FidelityReport:
        """See `verification.ports.FidelityMeter`."""
        if request.bits is not None and not request.is_baked:
            raise ValueError("bits of the weights do not matter to an update that is not baked into them")
        bits = request.base_model.render_bits or request.bits
        if request.bits not in (None, bits):
            raise ValueError(f"{request.base_model.name} is not stored at {request.bits} bits")
        keys = open_safetensors(request.adapter.path).tensors
        mapping = mapping_for(request.base_model)
        matches = match_keys(keys, mapping)
        dtype = _DTYPES[request.dtype] if request.dtype else rendering_dtype()
        kind, weight_of = open_weights(request.base_model, self._data) if request.is_baked else (None, None)
        bench = _Bench(request, mapping, dtype, weight_of, bits)
        known = {layer.path: layer for layer in layers_of(request.base_model)}
        found = [bench.measure(layer, matches.layers.get(path, frozenset())) for path, layer in known.items()]
        layers = [layer for layer in found if layer is not None]
        wanted = [known[layer.layer] for layer in layers if layer.slot]
        norm, is_estimate = weights_norm(request.base_model, self._data, wanted) if wanted else (None, True)
        return FidelityReport(
            loader=f"mflux {machine.version_of('mflux')}",
            base_model=request.base_model.name,
            dtype="float32" if dtype == mx.float32 else "bfloat16",
            is_baked=request.is_baked,
            bits=bits,
            base_weights=kind,
            layers=(*layers, *_unplaced(request.source, known.values(), request.adapter.lora_scale)),
            unmatched_keys=tuple(sorted(keys.keys() - matches.matched)),
            problems=(
                *(
                    f"it names {path}, which {request.base_model.name} has not"
                    for path in sorted(matches.layers.keys() - known.keys())
                ),
                *(layer.problem for layer in layers if layer.problem),
            ),
            weights_norm=norm,
            weights_are_estimated=is_estimate,
            adapter_dtype="bfloat16" if any(info.dtype == "BF16" for info in keys.values()) else "float32",
        )


def _unplaced(source: UpdateSource, layers: Collection[MfluxLayer], lora_scale: float) -> Iterator[LayerFidelity]:
    """What the source adds to modules that the model has not."""
    slots = {slot for layer in layers for slot in (layer.module, layer.slot)}
    for slot, patch in source.patches.items():
        if slot not in slots:
            up, down = source.numbers(patch.up), source.numbers(patch.down)
            yield missed("", slot, unplaced_update(up, down, lora_scale * patch.scale).norm)
