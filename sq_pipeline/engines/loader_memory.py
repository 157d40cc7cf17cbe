"""What is the same for every adapter of one kind, found out once: which names of a file match which patterns.

mflux's loader tries every pattern on every key, with a search for numbers each time, and so spends more than half of a
swap on names that it has seen in the last file. Its own answers are kept here, not made: the function is wrapped, and
takes nothing but two texts. Not here: applying anything.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mflux.models.common.lora.mapping.lora_loader import LoRALoader
from mflux.models.common.lora.mapping.lora_mapping import LoRATarget

from sq_pipeline.engines.loader_narrowing import narrow_to_keys
from sq_pipeline.engines.loader_targets import KeyMatches, match_keys

# some 40 patterns are left for the 608 keys of an adapter over all of FLUX.1: three kinds of names
_ANSWERS, _KINDS = 1 << 17, 4


def remember_matches() -> None:
    """Let mflux's loader keep its answers to "does this key match this pattern", in this process."""
    if not hasattr(LoRALoader._match_pattern, "cache_info"):
        LoRALoader._match_pattern = staticmethod(lru_cache(_ANSWERS)(LoRALoader._match_pattern))


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
        remember_matches()

    def of(self, keys: Sequence[str]) -> KnownNames:
        """What is known of these names."""
        known = self._known.pop(tuple(keys), None) or self._find_out(keys)
        self._known[tuple(keys)] = known
        while len(self._known) > _KINDS:
            self._known.popitem(last=False)
        return known

    def _find_out(self, keys: Collection[str]) -> KnownNames:
        return KnownNames(narrow_to_keys(self._mapping, keys), match_keys(keys, self._mapping))
