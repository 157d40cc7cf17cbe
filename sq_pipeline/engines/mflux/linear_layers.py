"""The linear layers of a transformer that a mapping of mflux's has targets for, whatever its family."""

from collections.abc import Iterator

from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mlx import nn

from sq_pipeline.engines.module_paths import get_module


def linear_layers(transformer: nn.Module, mapping: list[LoRATarget]) -> dict[str, nn.Module]:
    """By path. A target that this transformer has no layer for, or one that is no linear layer, is left out."""
    found: dict[str, nn.Module] = {}
    for target in mapping:
        for path in _paths(transformer, target.model_path):
            try:
                module = get_module(transformer, path)
            except (AttributeError, IndexError, KeyError):
                continue
            if isinstance(module, nn.Linear | nn.QuantizedLinear):
                found[path] = module
    return found


def _paths(transformer: nn.Module, pattern: str) -> Iterator[str]:
    if "{block}" not in pattern:
        yield pattern
        return
    blocks = getattr(transformer, pattern.partition(".")[0], [])
    yield from (pattern.format(block=index) for index in range(len(blocks)))
