"""Which adapters apply to a world and tier, in which order, and the triggers they bring."""

from collections.abc import Iterable

from sq_pipeline.content.records import LoraEntry, World


def overlay_entries(
    genre_entries: Iterable[LoraEntry], exclude: Iterable[str], add: Iterable[LoraEntry]
) -> tuple[LoraEntry, ...]:
    """A world's entries of all tiers: the genre's minus `exclude`, plus `add`, in that order."""
    left_out = set(exclude)
    return (*(entry for entry in genre_entries if entry.name not in left_out), *add)


def stack_for(world: World, tier: str) -> tuple[LoraEntry, ...]:
    """The world's entries that apply to `tier`, in order."""
    return tuple(entry for entry in world.entries if tier in entry.applies_to)


def lacks_adapter(world: World, tier: str, *, has_genre_adapters: bool) -> bool:
    """True where nobody said that the tier is to do without an adapter: none applies, its genre has some, and the world
    excludes none that would.
    """
    if stack_for(world, tier) or not has_genre_adapters:
        return False
    return not any(tier in entry.applies_to for entry in world.excluded)


def triggers_of(stack: Iterable[LoraEntry]) -> tuple[str, ...]:
    """The stack's triggers in its order, each once."""
    return tuple(dict.fromkeys(entry.trigger for entry in stack if entry.trigger))
