"""What mflux's LoRA loader looks for: its mapping and layers of a base model, which keys of a file it knows, and its
mapping narrowed to one layer, so that a loader that is given one layer does there what it does on a transformer.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace

from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget
from mflux.models.flux.weights.flux_lora_mapping import FluxLoRAMapping

from sq_pipeline.base_models.base_models import FLUX1_MODELS, BaseModel, QwenModel, as_flux1
from sq_pipeline.engines.mflux import family_layers as family_layers
from sq_pipeline.engines.mflux import flux_layers as flux1_layers
from sq_pipeline.engines.mflux.families import FAMILIES
from sq_pipeline.engines.mflux.flux_layers import MfluxLayer
from sq_pipeline.engines.tiny_flux.mflux_build import small_lora_mapping

_PATTERNS = tuple(field.name for field in fields(LoRATarget) if field.name.endswith("_patterns"))


_LOKR = ".lokr_"


def narrow_to_keys(mapping: list[LoRATarget], keys: Collection[str]) -> list[LoRATarget]:
    """The targets of `mapping`, all of them, with the patterns that some key may match.

    The names of LoKr's factors are made by mflux from those of others, so with one such key their patterns all stay.
    """
    shapes = {shape for key in keys for shape in _shapes(key)}
    has_lokr = any(_LOKR in key for key in keys)
    return [
        replace(
            target,
            **{
                name: [
                    pattern
                    for pattern in getattr(target, name)
                    if pattern in shapes or pattern.removesuffix(".weight") in shapes or (has_lokr and "lokr" in name)
                ]
                for name in _PATTERNS
            },
        )
        for target in mapping
    ]


def _shapes(key: str) -> Iterator[str]:
    """The patterns that could match a key: itself, and with each of its numbers as the block's."""
    yield key
    for number in re.finditer(r"\d+", key):
        yield f"{key[: number.start()]}{{block}}{key[number.end() :]}"


_PATTERNS = tuple(field.name for field in fields(LoRATarget) if field.name.endswith("_patterns"))


@dataclass(frozen=True)
class KeyMatches:
    """The keys that some pattern of a mapping matches, and the paths of the layers that they are for."""

    matched: frozenset[str]
    layers: Mapping[str, frozenset[str]]


def mapping_for(base_model: BaseModel) -> list[LoRATarget]:
    """mflux's own mapping for the family; for a narrower FLUX.1, with the fused `linear1` split at its width."""
    if isinstance(base_model, QwenModel):
        return FAMILIES[base_model.family].mapping()
    hidden_size = as_flux1(base_model, "this mapping").hidden_size
    if hidden_size == FLUX1_MODELS["flux1-dev"].hidden_size:
        return FluxLoRAMapping.get_mapping()
    return small_lora_mapping(hidden_size)


def layers_of(base_model: BaseModel) -> Iterator[MfluxLayer]:
    """Every linear layer of a base model that adapters change."""
    if isinstance(base_model, QwenModel):
        return family_layers.layers_of(base_model)
    return flux1_layers.layers_of(as_flux1(base_model, "this table"))


def match_keys(keys: Iterable[str], mapping: list[LoRATarget]) -> KeyMatches:
    """The keys of a file that mflux's patterns match; `layers` gives for each path the keys that name it."""
    by_shape: dict[str, list[str]] = {}
    for pattern in LoRALoader._build_pattern_mappings(mapping):
        for source in {pattern.source_pattern, pattern.source_pattern.removesuffix(".weight")}:
            by_shape.setdefault(source, []).append(pattern.target_path)
    layers: dict[str, set[str]] = {}
    for key in keys:
        for number in {None, *re.findall(r"\d+", key)}:
            shape = key if number is None else re.sub(rf"(?<!\d){number}(?!\d)", "{block}", key, count=1)
            for target in by_shape.get(shape, ()):
                layers.setdefault(target.replace("{block}", number or ""), set()).add(key)
    return KeyMatches(frozenset().union(*layers.values()), {path: frozenset(found) for path, found in layers.items()})


def narrow(mapping: list[LoRATarget], path: str, keys: Collection[str]) -> list[LoRATarget]:
    """The targets of one layer, without patterns that match none of `keys` (they are tried on every key of a file)."""
    narrowed: list[LoRATarget] = []
    lokr = {_stem(key) for key in keys if ".lokr_" in key}
    for target in mapping:
        block = _block_of(target.model_path, path)
        if block is None:
            continue
        patterns = {
            name: [
                pattern
                for pattern in (text.replace("{block}", block) for text in getattr(target, name))
                if pattern in keys or pattern.removesuffix(".weight") in keys or _stem(pattern) in lokr
            ]
            for name in _PATTERNS
        }
        narrowed.append(replace(target, model_path=path, **patterns))
    return narrowed


def _stem(name: str) -> str:
    """The module of a LoKr's name; mflux makes the names of its factors from one of them."""
    return name.rpartition(".lokr_")[0]


def _block_of(pattern: str, path: str) -> str | None:
    """The number that makes `pattern` the path, empty where it needs none; None where it is another layer's."""
    found = re.fullmatch(re.escape(pattern).replace(r"\{block\}", r"(\d+)"), path)
    return None if found is None else (found.groups() or ("",))[0]
