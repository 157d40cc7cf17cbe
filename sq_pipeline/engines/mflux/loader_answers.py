"""What mflux's own LoRA loader, as it is installed, makes of an adapter file: asked for every family that it has.

The loader runs over transformers of real widths of which no weight is computed, so an answer costs a fraction of a
second and no memory. It compares no shapes when it puts a LoRA on; that is done here. Not here: the families
(`adapter_families`), how much of an update arrives (`fidelity`).
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlx.core as mx
from mflux.models.common.lora.layer.fused_linear_lora_layer import FusedLoRALinear
from mflux.models.common.lora.layer.linear_lora_layer import LoRALinear
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn

from sq_pipeline.adapters.inspect.loader_verdicts import LoaderAnswer
from sq_pipeline.engines import machine
from sq_pipeline.engines.mflux.adapter_families import ADAPTER_FAMILIES, AdapterFamily
from sq_pipeline.engines.mflux.loader_targets import match_keys, narrow_to_keys


def ask_mflux(path: Path, names: Sequence[str]) -> list[LoaderAnswer]:
    """The answer for each family and width that knows at least one of the file's names, the best first."""
    found = [answer for family in ADAPTER_FAMILIES for answer in _ask_family(family, path, names)]
    return sorted(found, key=lambda answer: (bool(answer.problem), len(answer.unread)))


def _ask_family(family: AdapterFamily, path: Path, names: Sequence[str]) -> Iterator[LoaderAnswer]:
    mapping = narrow_to_keys(family.targets(), names)
    known = match_keys(names, mapping)
    if not known.matched:
        return
    unread = tuple(name for name in names if name not in known.matched)
    for model in family.models:
        transformer = family.make_transformer(model)
        problem = _put_on(transformer, path, mapping)
        layers = 0
        if not problem:
            changed = list(_changed_layers(transformer))
            layers = len(changed)
            problem = next((told for told in changed if told), "")
        yield LoaderAnswer(
            machine.version_of("mflux"), family.name, model, len(known.matched), len(names), unread, layers, problem
        )


def _put_on(transformer: nn.Module, path: Path, mapping: list[LoRATarget]) -> str:
    """Have the loader do it; why it did not, in a line, or empty."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            LoRALoader.load_and_apply_lora(
                lora_mapping=mapping,
                transformer=transformer,
                lora_paths=[str(path)],
                lora_scales=[1.0],
                bake_lora=False,
            )
    except (ValueError, RuntimeError, TypeError, IndexError) as error:  # what its own code lets through on odd shapes
        return str(error).splitlines()[0]
    return ""


def _changed_layers(transformer: nn.Module) -> Iterator[str]:
    """For each layer that was changed, why it cannot be computed, or empty."""
    for path, layer in transformer.named_modules():
        loras = [layer] if isinstance(layer, LoRALinear) else []
        if isinstance(layer, FusedLoRALinear):
            loras = [one for one in layer.loras if isinstance(one, LoRALinear)]
        elif hasattr(layer, "lokr_w1"):
            yield ""
        for lora in loras:
            yield _misfit(path, lora)


def _misfit(path: str, lora: LoRALinear) -> str:
    outputs, inputs = _sizes(lora.linear)
    down, up = lora.lora_A.shape, lora.lora_B.shape
    if len(down) == len(up) == 2 and (down[0], up[1]) == (inputs, outputs) and down[1] == up[0]:
        return ""
    return (
        f"{path} has {inputs} inputs and {outputs} outputs, its matrices in the file are "
        f"{_shape(down)} and {_shape(up)}"
    )


def _sizes(linear: nn.Module) -> tuple[int, int]:
    weight: mx.array = linear.weight
    outputs, inputs = weight.shape
    return (outputs, inputs * 32 // linear.bits) if isinstance(linear, nn.QuantizedLinear) else (outputs, inputs)


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
