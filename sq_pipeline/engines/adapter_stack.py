"""Adapters put on an mflux transformer and taken off again, with a record of what was really applied.

Adapters are applied unbaked: the base weights are never written to, so taking a stack off gives back the
very same modules, and nothing of an update is lost to rounding. Not here: choosing the adapters.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
from mflux.models.common.lora.layer.linear_lora_layer import LoRALinear
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn

from sq_pipeline.core.errors import Fault, RenderError
from sq_pipeline.core.protocols import AdapterUse, AppliedAdapter
from sq_pipeline.engines.loader_paths import linear_layers
from sq_pipeline.engines.loader_targets import match_keys
from sq_pipeline.engines.module_paths import get_module, put_module
from sq_pipeline.telemetry.spans import span


class AdapterStack:
    """The adapters of one transformer. `mapping` is mflux's own list of targets for its family."""

    def __init__(self, transformer: nn.Module, mapping: list[LoRATarget]) -> None:
        self._transformer = transformer
        self._mapping = mapping
        self._base: dict[str, nn.Module] = linear_layers(transformer, mapping)
        self._uses: tuple[AdapterUse, ...] = ()
        self._applied: tuple[AppliedAdapter, ...] = ()

    def use(self, uses: tuple[AdapterUse, ...]) -> tuple[AppliedAdapter, ...]:
        """Make exactly `uses` apply; a stack that is already on stays. Raises RenderError and leaves none on."""
        if uses != self._uses:
            with span("flux_mlx.swap_stack", {"lora.stack_size": len(uses)}):
                self.take_off()
                try:
                    self._applied = tuple(self._put_on(use) for use in uses)
                except BaseException:
                    self.take_off()
                    raise
                self._uses = uses
        return self._applied

    def take_off(self) -> None:
        """Give the transformer back its own modules."""
        for path, module in self._base.items():
            put_module(self._transformer, path, module)
        self._uses, self._applied = (), ()

    def _put_on(self, use: AdapterUse) -> AppliedAdapter:
        before = {path: get_module(self._transformer, path) for path in self._base}
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                LoRALoader.load_and_apply_lora(
                    lora_mapping=self._mapping,
                    transformer=self._transformer,
                    lora_paths=[str(use.path)],
                    lora_scales=[use.lora_scale],
                    bake_lora=False,
                )
        except (ValueError, RuntimeError, OSError) as error:
            problem = f"mflux did not apply it: {str(error).splitlines()[0]}"
            raise RenderError(Fault(str(use.path), "", problem, "see `sq-pipeline adapter inspect`")) from error
        if faults := list(self._misfits(use.path)):
            raise RenderError(faults)
        matched, total, expected = self._matches(use.path)
        patched = sum(get_module(self._transformer, path) is not module for path, module in before.items())
        applied = AppliedAdapter(use.path, use.lora_scale, matched, total, patched, expected)
        if not applied.is_whole:
            problem = f"only {matched} of {total} keys matched and {patched} of {expected} layers were patched"
            raise RenderError(Fault(str(use.path), "", problem, "see `sq-pipeline adapter inspect`"))
        return applied

    def _misfits(self, path: Path) -> Iterator[Fault]:
        """Layers whose update has other widths than the layer: mflux puts them on all the same, unless it bakes."""
        for name, base in self._base.items():
            weight: mx.array = base.weight
            outputs, inputs = weight.shape
            if isinstance(base, nn.QuantizedLinear):
                inputs *= 32 // base.bits
            layer = get_module(self._transformer, name)
            for lora in getattr(layer, "loras", [layer]):
                if isinstance(lora, LoRALinear):
                    found = (lora.lora_A.shape[0], lora.lora_B.shape[1])
                    if found != (inputs, outputs) or lora.lora_A.shape[1] != lora.lora_B.shape[0]:
                        problem = (
                            f"{name} is {inputs} wide and {outputs} out, the adapter has {found[0]} and {found[1]}"
                        )
                        yield Fault(str(path), "", problem, "was it trained for this base model?")

    def _matches(self, path: Path) -> tuple[int, int, int]:
        """Keys of the file that mflux's patterns match, keys in all, and distinct layers they name."""
        keys = mx.load(str(path)).keys()  # type: ignore[union-attr]  # lazy: reads the header only
        matches = match_keys(keys, self._mapping)
        return len(matches.matched), len(keys), len(matches.layers)
