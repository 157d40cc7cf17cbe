"""What keeps mflux's loader from spending most of a swap on names: two savings that change none of its answers.

It tries every pattern on every key of a file, with a search for numbers each time. What cannot match, by its beginning
or its end, is answered here; mflux's own function answers for the rest. And which patterns a file's names need is found
out once for files of the same names. Not here: applying anything.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget

from sq_pipeline.engines.mflux.loader_targets import KeyMatches, match_keys, narrow_to_keys

_KINDS = 4
_BLOCK, _WEIGHT = "{block}", ".weight"

mflux_matches = LoRALoader._match_pattern


@lru_cache(1 << 13)
def _ends_of(pattern: str) -> tuple[str, tuple[str, str]]:
    """What every key that matches begins with, and the two texts that it may end with."""
    if _BLOCK not in pattern:
        return pattern.removesuffix(_WEIGHT), ("", "")
    suffix = pattern.rpartition(_BLOCK)[2]
    return pattern.partition(_BLOCK)[0], (suffix, suffix.removesuffix(_WEIGHT))


def match(weight_key: str, pattern: str) -> int | None:
    """As mflux's own: the block's number (0 where there is none) of a key that matches, else None."""
    prefix, suffixes = _ends_of(pattern)
    if not (weight_key.startswith(prefix) and weight_key.endswith(suffixes)):
        return None
    return mflux_matches(weight_key, pattern)


@dataclass(frozen=True)
class KnownNames:
    """For the names of one file: the mapping without patterns that match none of them, and what the rest match."""

    mapping: list[LoRATarget]
    matches: KeyMatches


class LoaderMemory:
    """What is known of the names of the files that were put on last. `mapping` is mflux's own for the family."""

    def __init__(self, mapping: list[LoRATarget]) -> None:
        self._mapping = mapping
        self._known: OrderedDict[tuple[str, ...], KnownNames] = OrderedDict()
        LoRALoader._match_pattern = staticmethod(match)

    def of(self, keys: Sequence[str]) -> KnownNames:
        """What is known of these names."""
        known = self._known.pop(tuple(keys), None) or self._find_out(keys)
        self._known[tuple(keys)] = known
        while len(self._known) > _KINDS:
            self._known.popitem(last=False)
        return known

    def _find_out(self, keys: Collection[str]) -> KnownNames:
        mapping = narrow_to_keys(self._mapping, keys)
        return KnownNames(mapping, match_keys(keys, mapping))
