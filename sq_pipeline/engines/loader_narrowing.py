"""mflux's list of targets without the patterns that a file cannot match.

mflux tries every pattern on every key of a file: 1,700 of them on 608 keys take it seconds, and most are of other
dialects. What is left out here matches nothing, so the loader does with the rest what it would have done with all.
Not here: the list for one layer (`loader_targets.narrow`).
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import fields, replace

from mflux.models.common.lora.mapping.lora_mapping import LoRATarget

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
