"""Adapter stacks that were put on lately, kept so that putting one on again reads no file.

A stack is known by its files as they were when they were read (path, size, times, inode) and its scales: a file that
was replaced is another file. Not here: putting modules into a transformer (`adapter_stack`).
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from sq_pipeline.adapters.form import AdapterUse
from sq_pipeline.pictures.ports import AppliedAdapter

# A file may be written twice within the resolution of its times (2 s on FAT): one that young is read again. Its status
# changes with every write and, unlike its modification time, cannot be set.
_YOUNG_NS = 2_000_000_000

FileStamp = tuple[str, int, int, int, int]
StackKey = tuple[tuple[FileStamp, float], ...]


def stamp_of(path: Path) -> FileStamp:
    """What a file is known by, without reading it. Raises OSError."""
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def stack_key(uses: tuple[AdapterUse, ...]) -> StackKey:
    """What a stack is known by. Raises OSError for a file that is not there."""
    return tuple((stamp_of(use.path), use.lora_scale) for use in uses)


def is_settled(key: StackKey) -> bool:
    """True when no file is so young that it could be written again and look the same."""
    now = time.time_ns()
    return all(now - stamp[3] > _YOUNG_NS for stamp, _ in key)


@dataclass(frozen=True)
class ReadyStack:
    """The layers of a transformer with a stack on them, by path; the rest of it is as it was."""

    layers: Mapping[str, nn.Module]
    applied: tuple[AppliedAdapter, ...]
    byte_count: int


def own_arrays(layers: Mapping[str, nn.Module]) -> list[mx.array]:
    """The arrays that the adapters brought, each once; not those of the layers below them."""
    found: dict[int, mx.array] = {}
    for layer in layers.values():
        for adapter in getattr(layer, "loras", [layer]):
            for _, array in tree_flatten({name: value for name, value in adapter.items() if name != "linear"}):
                if isinstance(array, mx.array):
                    found[id(array)] = array
    return list(found.values())


class ReadyStacks:
    """The stacks last used, as many as fit into `budget_bytes`; the latest one is kept whatever its size."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._stacks: OrderedDict[StackKey, ReadyStack] = OrderedDict()

    @property
    def byte_count(self) -> int:
        """What the kept stacks take up."""
        return sum(stack.byte_count for stack in self._stacks.values())

    def __len__(self) -> int:
        return len(self._stacks)

    def __iter__(self) -> Iterator[StackKey]:
        """The keys, the least recently used first."""
        return iter(self._stacks)

    def find(self, key: StackKey) -> ReadyStack | None:
        """The stack of this key, which is then the most recently used one."""
        stack = self._stacks.get(key)
        if stack is not None:
            self._stacks.move_to_end(key)
        return stack

    def keep(self, key: StackKey, stack: ReadyStack) -> None:
        """Keep a stack, and let go of those that were not used for longest until all fit.

        A stack of the same paths and scales whose files have changed since can never be asked for again: it goes too.
        """
        for old in [known for known in self._stacks if _names(known) == _names(key)]:
            del self._stacks[old]
        self._stacks[key] = stack
        while len(self._stacks) > 1 and self.byte_count > self._budget_bytes:
            self._stacks.popitem(last=False)


def _names(key: StackKey) -> list[tuple[str, float]]:
    return [(stamp[0], lora_scale) for stamp, lora_scale in key]
