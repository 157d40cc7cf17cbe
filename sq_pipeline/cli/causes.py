"""What stops assets, each cause once: the assets that it stops first, and how many more wait for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sq_pipeline.pipeline.explain import is_chain


@dataclass(frozen=True)
class Cause:
    """`first`: the entries that it stops by itself, which say it in the same words; or the first that says it.

    `behind` is how many more entries come after those.
    """

    first: tuple[dict[str, Any], ...]
    behind: int

    @property
    def more(self) -> int:
        """How many entries wait for it beside the first one."""
        return len(self.first) - 1 + self.behind


def causes_of(items: Iterable[dict[str, Any]]) -> list[Cause]:
    """The causes of entries, in their order.

    An entry has `asset`, `reason` or `reasons`, and `chain`: what led there, from the nearest asset to the first.
    """
    entries = list(items)
    own = {item["asset"]: _key(item) for item in entries if not _is_behind(item)}
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in entries:
        root = item["chain"][-1] if _is_behind(item) else item["asset"]
        groups.setdefault(own.get(root, (root,)), []).append(item)
    return [_cause(group) for group in groups.values()]


def tell_more(count: int) -> str:
    """What follows a cause that is told with one of its entries; empty where there is no other."""
    return f" ({count} more {'waits' if count == 1 else 'wait'} for this)" if count else ""


def _cause(group: list[dict[str, Any]]) -> Cause:
    first = tuple(item for item in group if not _is_behind(item)) or (group[0],)
    return Cause(first, len(group) - len(first))


def _key(item: dict[str, Any]) -> tuple[str, ...]:
    return (item.get("status", ""), *_reasons(item))


def _reasons(item: dict[str, Any]) -> list[str]:
    return item["reasons"] if "reasons" in item else [item["reason"]]


def _is_behind(item: dict[str, Any]) -> bool:
    """True for an entry that says nothing but what led there."""
    return bool(item["chain"]) and is_chain(_reasons(item)[0])
