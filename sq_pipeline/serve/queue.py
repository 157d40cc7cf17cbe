"""Which picture is rendered next: in turn across clients, with few changes of stack and of base model, nobody starving.

* Clients take turns, one picture each.
* Within a client's own pictures, those of the stack that is on come first, then those of its base model, then the
  oldest. A picture that `OVERTAKEN_MAX` younger ones of its own client have passed comes next.
* A client whose next picture needs another base model lets others go first, whose base model is loaded, but at most
  `PASSED_MAX` times in a row: a swap of stacks costs nothing beside a picture, a load costs several.

So a picture waits for at most OVERTAKEN_MAX turns of its client, and one for each older picture in its client's line;
with n clients a turn comes after at most n - 1 + PASSED_MAX pictures of others. Not here: connections, and rendering.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

OVERTAKEN_MAX = 256
PASSED_MAX = 8

Item = TypeVar("Item")


@dataclass(frozen=True)
class RenderKey:
    """What a picture needs: a base model, and a stack on it (anything that is equal for equal stacks)."""

    base_model: Hashable
    stack: Hashable


@dataclass
class _Entry(Generic[Item]):
    key: RenderKey
    item: Item
    overtaken: int = 0


@dataclass
class _Line(Generic[Item]):
    """One client's pictures, the oldest first; `passed` counts the turns that it let go by since its last one."""

    entries: list[_Entry[Item]]
    passed: int = 0


class RenderQueue(Generic[Item]):
    """A queue of pictures. Clients are known by anything hashable and are there while they have pictures waiting."""

    def __init__(self, overtaken_max: int = OVERTAKEN_MAX, passed_max: int = PASSED_MAX) -> None:
        self._overtaken_max, self._passed_max = overtaken_max, passed_max
        self._lines: dict[Hashable, _Line[Item]] = {}  # in the order of turns
        self._current: RenderKey | None = None

    def __len__(self) -> int:
        return sum(len(line.entries) for line in self._lines.values())

    def put(self, client: Hashable, key: RenderKey, item: Item) -> None:
        """Add a picture at the end of a client's line."""
        self._lines.setdefault(client, _Line([])).entries.append(_Entry(key, item))

    def take(self) -> Item | None:
        """The next picture, which counts as the one that is rendered from now on; None when there is none."""
        if not self._lines:
            return None
        client = self._client_in_turn()
        line = self._lines.pop(client)
        chosen = self._choose(line)
        entry = line.entries.pop(chosen)
        for older in line.entries[:chosen]:
            older.overtaken += 1
        line.passed = 0
        if line.entries:
            self._lines[client] = line  # at the end of the order
        self._current = entry.key
        return entry.item

    def remove(self, wanted: Callable[[Item], bool]) -> list[Item]:
        """Take out all pictures for which `wanted` is true; in the order of turns."""
        removed: list[Item] = []
        for client, line in list(self._lines.items()):
            removed += [entry.item for entry in line.entries if wanted(entry.item)]
            line.entries = [entry for entry in line.entries if not wanted(entry.item)]
            if not line.entries:
                del self._lines[client]
        return removed

    def _client_in_turn(self) -> Hashable:
        """The first client who has waited long enough or needs no load; the first of all where everybody needs one."""
        clients = list(self._lines)
        chosen = clients[0]
        for client in clients:
            line = self._lines[client]
            if line.passed >= self._passed_max or self._is_loaded(line.entries[self._choose(line)].key):
                chosen = client
                break
        for client in clients[: clients.index(chosen)]:
            self._lines[client].passed += 1
        return chosen

    def _is_loaded(self, key: RenderKey) -> bool:
        return self._current is not None and key.base_model == self._current.base_model

    def _choose(self, line: _Line[Item]) -> int:
        """The place in its line of what a client renders in its turn."""
        if line.entries[0].overtaken >= self._overtaken_max:
            return 0  # the oldest was passed by all that passed another
        keys = [entry.key for entry in line.entries]
        if self._current in keys:
            return keys.index(self._current)
        return next((index for index, key in enumerate(keys) if self._is_loaded(key)), 0)


def order_by_stack(items: Iterable[Item], key_of: Callable[[Item], RenderKey]) -> list[Item]:
    """The items of one batch in the order in which a queue gives them out: stack by stack, each in its own order."""
    queue = RenderQueue[Item]()
    for item in items:
        queue.put(None, key_of(item), item)
    ordered: list[Item] = []
    while len(queue):
        ordered.append(queue.take())  # type: ignore[arg-type]  # it is not empty
    return ordered
