"""Adapters put on an mflux transformer and taken off again, with a record of what was really applied.

Adapters are applied unbaked: the base weights are never written to, so taking a stack off gives back the
very same modules, and nothing of an update is lost to rounding. Not here: choosing the adapters.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
from mflux.models.common.lora.layer.linear_lora_layer import LoRALinear
from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn

from sq_pipeline.core.errors import Fault, RenderError
from sq_pipeline.core.protocols import AdapterUse, AppliedAdapter


def _resolve(root: nn.Module, path: str) -> tuple[object, str]:
    parent: object = root
    *way, last = path.split(".")
    for part in way:
        parent = parent[int(part)] if part.isdigit() else getattr(parent, part)  # type: ignore[index]
    return parent, last


def _get(root: nn.Module, path: str) -> nn.Module:
    parent, last = _resolve(root, path)
    return parent[int(last)] if last.isdigit() else getattr(parent, last)  # type: ignore[index]


def _set(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, last = _resolve(root, path)
    if last.isdigit():
        parent[int(last)] = module  # type: ignore[index]
    else:
        setattr(parent, last, module)


class AdapterStack:
    """The adapters of one transformer. `mapping` is mflux's own list of targets for its family."""

    def __init__(self, transformer: nn.Module, mapping: list[LoRATarget]) -> None:
        self._transformer = transformer
        self._mapping = mapping
        self._base: dict[str, nn.Module] = {path: _get(transformer, path) for path in self._target_paths()}
        self._uses: tuple[AdapterUse, ...] = ()
        self._applied: tuple[AppliedAdapter, ...] = ()

    def _target_paths(self) -> Iterator[str]:
        blocks = {
            "transformer_blocks": len(self._transformer.transformer_blocks),
            "single_transformer_blocks": len(self._transformer.single_transformer_blocks),
        }
        for target in self._mapping:
            if "{block}" in target.model_path:
                count = blocks[target.model_path.partition(".")[0]]
                yield from (target.model_path.format(block=index) for index in range(count))

    def use(self, uses: tuple[AdapterUse, ...]) -> tuple[AppliedAdapter, ...]:
        """Make exactly `uses` apply; a stack that is already on stays. Raises RenderError and leaves none on."""
        if uses != self._uses:
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
            _set(self._transformer, path, module)
        self._uses, self._applied = (), ()

    def _put_on(self, use: AdapterUse) -> AppliedAdapter:
        before = {path: _get(self._transformer, path) for path in self._base}
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
        patched = sum(_get(self._transformer, path) is not module for path, module in before.items())
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
            layer = _get(self._transformer, name)
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
        patterns = LoRALoader._build_pattern_mappings(self._mapping)
        by_shape: dict[str, list[str]] = {}
        for pattern in patterns:
            for source in {
                pattern.source_pattern,
                pattern.source_pattern.removesuffix(".weight"),
            }:
                by_shape.setdefault(source, []).append(pattern.target_path)
        matched: set[str] = set()
        layers: set[str] = set()
        for key in keys:
            for number in {None, *re.findall(r"\d+", key)}:
                shape = key if number is None else re.sub(rf"(?<!\d){number}(?!\d)", "{block}", key, count=1)
                for target in by_shape.get(shape, ()):
                    matched.add(key)
                    layers.add(target.replace("{block}", number or ""))
        return len(matched), len(keys), len(layers)
