"""Pictures of what is gone from the YAML: ours go to the archive, what a person changed stays, and both are told."""

from sq_pipeline.common.tiers import find_tier, published_key
from sq_pipeline.pictures.archive import archive_removed_places
from sq_pipeline.pipeline.context import Context


def clear_removed_pictures(context: Context) -> list[str]:
    """A line for each picture that was moved, or found changed and left; the latter once. Raises StorageError."""
    moved = archive_removed_places(context.data, context.catalog)
    lines = [f"{path}: what it shows is gone from the YAML" for path in moved]
    faulty = {key.partition("/")[0] for key in context.catalog.faults}
    faulty |= {world.genre for world in context.catalog.worlds.values() if world.faulty_tiers}
    shown: dict[str, set[str]] = {}
    for world in context.catalog.worlds.values():
        keys = shown.setdefault(world.genre, set())
        keys |= {published_key(tier, subject.slug) for tier, found in world.subjects.items() for subject in found}
    for genre in sorted(shown.keys() - faulty):
        for key in sorted(context.store.read_published(genre).keys() - shown[genre]):
            tier, _, slug = key.rpartition("/")
            path = context.data.published_image(genre, find_tier(tier) or "landscape", slug)
            if path.exists():
                name = context.data.relative(path)
                lines.append(f"{name}: what it shows is gone from the YAML; it was changed by hand, and stays")
            context.store.forget_published(genre, key)
    return lines
