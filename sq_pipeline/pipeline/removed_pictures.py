"""Pictures of what is gone from the YAML: ours go to the archive, what a person changed stays, and both are told."""

from sq_pipeline.common.tiers import find_tier
from sq_pipeline.pictures.archive import archive_removed_places, shown_keys
from sq_pipeline.pipeline.context import Context


def clear_removed_pictures(context: Context) -> list[str]:
    """A line for each picture that was moved, or found changed and left; the latter once. Raises StorageError."""
    moved = archive_removed_places(context.data, context.catalog)
    lines = [f"{path}: what it shows is gone from the YAML" for path in moved]
    for genre, shown in shown_keys(context.catalog).items():
        for key in sorted(context.store.read_published(genre).keys() - shown):
            tier, _, slug = key.rpartition("/")
            path = context.data.published_image(genre, find_tier(tier) or "landscape", slug)
            if path.exists():
                name = context.data.relative(path)
                lines.append(f"{name}: what it shows is gone from the YAML; it was changed by hand, and stays")
            context.store.forget_published(genre, key)
    return lines
