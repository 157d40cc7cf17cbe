"""Adapters put on an mflux transformer and taken off again, with a record of what was really applied.

Adapters are applied unbaked: the base weights are never written to, so taking a stack off gives back the
very same modules, and nothing of an update is lost to rounding. Not here: choosing the adapters, and which stacks
stay ready in memory (`ready_stacks`).
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlx.core as mx
from mflux.models.common.lora.layer.linear_lora_layer import LoRALinear
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.common.errors import Fault, NoMatchError, RenderError
from sq_pipeline.common.hints import command
from sq_pipeline.engines.mflux.linear_layers import linear_layers
from sq_pipeline.engines.mflux.loader_memory import LoaderMemory
from sq_pipeline.engines.mflux.ready_stacks import ReadyStack, ReadyStacks, StackKey, is_settled, own_arrays, stack_key
from sq_pipeline.engines.module_paths import get_module, put_module
from sq_pipeline.pictures.ports import AppliedAdapter
from sq_pipeline.telemetry.spans import span

Layers = Mapping[str, nn.Module]


class AdapterStack:
    """The adapters of one transformer. `mapping` is mflux's own list of targets for its family."""

    def __init__(self, transformer: nn.Module, mapping: list[LoRATarget], ready_bytes: int = 0) -> None:
        """`ready_bytes`: how much memory the stacks that were used last may take, to be put on again unread."""
        self._ready = ReadyStacks(ready_bytes)
        self._key: StackKey | None = ()
        self.swaps, self.files_read = 0, 0
        self._transformer = transformer
        self._names = LoaderMemory(mapping)
        self._base: dict[str, nn.Module] = linear_layers(transformer, mapping)
        self._applied: tuple[AppliedAdapter, ...] = ()

    def use(self, uses: tuple[AdapterUse, ...]) -> tuple[AppliedAdapter, ...]:
        """Make exactly `uses` apply; a stack that is already on stays, unless a file of it was replaced.

        Raises RenderError and leaves none on.
        """
        key = self._key_of(uses)
        # what is read while its file is young is used once: the file may change and look the same
        can_keep = is_settled(key)
        if can_keep and key == self._key:
            return self._applied
        with span("flux_mlx.swap_stack", {"lora.stack_size": len(uses)}):
            stack = self._ready.find(key) if can_keep else None
            self.take_off()
            self.swaps += 1
            if stack is None:
                stack = self._read(uses, key)
                if can_keep:
                    self._ready.keep(key, stack)
            else:
                for path, layer in stack.layers.items():
                    put_module(self._transformer, path, layer)
            self._applied, self._key = stack.applied, key if can_keep else None
        return stack.applied

    def _key_of(self, uses: tuple[AdapterUse, ...]) -> StackKey:
        try:
            return stack_key(uses)
        except OSError as error:
            self.take_off()
            problem = f"mflux did not apply it: it cannot be read ({error.strerror or error})"
            raise RenderError(Fault(str(error.filename), "", problem, "check the path and its permissions")) from error

    def take_off(self) -> None:
        """Give the transformer back its own modules."""
        for path, module in self._base.items():
            put_module(self._transformer, path, module)
        self._applied, self._key = (), ()

    def _read(self, uses: tuple[AdapterUse, ...], key: StackKey) -> ReadyStack:
        """The stack from its files, on and wholly in memory. Raises RenderError, with nothing on."""
        applied: list[AppliedAdapter] = []
        now: Layers = self._base
        try:
            for use in uses:
                item, now = self._put_on(use, now)
                applied.append(item)
            layers = {path: layer for path, layer in now.items() if layer is not self._base[path]}
            arrays = own_arrays(layers)
            mx.eval(arrays)  # MLX reads a file when its numbers are needed: now, and not after it was replaced
            if self._key_of(uses) != key:
                raise RenderError(Fault(str(uses[0].path), "", "a file of its stack changed while it was read", ""))
        except NoMatchError as error:
            self.take_off()
            raise NoMatchError(error.faults, (*(item.keys_matched for item in applied), 0)) from error
        except BaseException:
            self.take_off()
            raise
        return ReadyStack(layers, tuple(applied), sum(array.nbytes for array in arrays))

    @property
    def ready_bytes(self) -> int:
        """What the stacks that are kept ready take up."""
        return self._ready.byte_count

    def _put_on(self, use: AdapterUse, before: Layers) -> tuple[AppliedAdapter, Layers]:
        """One more adapter over the layers as they are; what became of it, and the layers then."""
        self.files_read += 1
        keys: list[str] | None = None
        try:
            keys = list(mx.load(str(use.path)))  # lazy: reads the header only
            names = self._names.of(keys)
            with contextlib.redirect_stdout(io.StringIO()):
                LoRALoader.load_and_apply_lora(
                    lora_mapping=names.mapping,
                    transformer=self._transformer,
                    lora_paths=[str(use.path)],
                    lora_scales=[use.lora_scale],
                    bake_lora=False,
                )
        except (ValueError, RuntimeError, OSError) as error:
            problem = f"mflux did not apply it: {str(error).splitlines()[0]}"
            kind = NoMatchError if keys is not None and not self._names.of(keys).matches.matched else RenderError
            raise kind(Fault(str(use.path), "", problem, _see(use.path))) from error
        now = {path: get_module(self._transformer, path) for path in self._base}
        if faults := list(self._misfits(use.path, now)):
            raise RenderError(faults)
        matched, total, expected = len(names.matches.matched), len(keys), len(names.matches.layers)
        patched = sum(now[path] is not module for path, module in before.items())
        applied = AppliedAdapter(use.path, use.lora_scale, matched, total, patched, expected)
        if not applied.is_whole:
            problem = f"only {matched} of {total} keys matched and {patched} of {expected} layers were patched"
            raise RenderError(Fault(str(use.path), "", problem, _see(use.path)))
        return applied, now

    def _misfits(self, path: Path, now: Layers) -> Iterator[Fault]:
        """Layers whose update has other widths than the layer: mflux puts them on all the same, unless it bakes."""
        for name, base in self._base.items():
            weight: mx.array = base.weight
            outputs, inputs = weight.shape
            if isinstance(base, nn.QuantizedLinear):
                inputs *= 32 // base.bits
            layer = now[name]
            for lora in getattr(layer, "loras", [layer]):
                if isinstance(lora, LoRALinear):
                    found = (lora.lora_A.shape[0], lora.lora_B.shape[1])
                    if found != (inputs, outputs) or lora.lora_A.shape[1] != lora.lora_B.shape[0]:
                        problem = (
                            f"{name} is {inputs} wide and {outputs} out, the adapter has {found[0]} and {found[1]}"
                        )
                        yield Fault(str(path), "", problem, "was it trained for this base model?")


def _see(path: Path) -> str:
    return f"see {command('adapter inspect', path)}"
