"""The plan as a table for a person: many places of a world with one reason are one row."""

from collections.abc import Iterable, Sequence
from typing import Any

from sq_pipeline.core.text_change import drop_context

_MOST_NAMES = 6


def plan_rows(items: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """What, and why, from the entries of `Plan.as_json()`. Places are put together where the same thing changed."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in items:
        name, _, slug = item["asset"].partition(":")
        key = (name, item["status"], *map(_gist, item["reasons"])) if slug else (item["asset"],)
        groups.setdefault(key, []).append(item)
    return [(_names(group), "\n".join(_reasons(group))) for group in groups.values()]


def _gist(reason: str) -> str:
    """The reason without what is of one place only: the words around a change, and the seed, which is its own."""
    return "seed: changed" if reason.startswith("seed: ") else drop_context(reason)


def _reasons(group: Sequence[dict[str, Any]]) -> list[str]:
    reasons: list[str] = group[0]["reasons"]
    is_one_for_all = all(item["reasons"] == reasons for item in group)
    return reasons if is_one_for_all else list(map(_gist, reasons))


def _names(group: Sequence[dict[str, Any]]) -> str:
    if len(group) == 1:
        return group[0]["asset"]
    name = group[0]["asset"].partition(":")[0]
    slugs = [item["asset"].partition(":")[2] for item in group]
    more = len(slugs) - _MOST_NAMES
    return f"{name}: {', '.join(slugs[:_MOST_NAMES])} {f'… and {more} more' if more > 0 else f'({len(slugs)})'}"
