"""Pictures of what is gone from the YAML: ours go to the archive, what a person changed stays, and both are told."""

from sq_pipeline.pictures.archive import archive_removed, draft_places, shown_keys
from sq_pipeline.pipeline.context import Context


def clear_removed_pictures(context: Context) -> list[str]:
    """A line for each picture that was moved, or found changed and left; the latter once. Raises StorageError."""
    data, paths = context.data, context.settings.picture_paths
    lines: list[str] = []
    for genre, shown in shown_keys(context.catalog, paths).items():
        gone = sorted(context.store.read_published(genre).keys() - shown)
        moved = archive_removed(data, genre, paths, shown, gone)
        drafts = draft_places(data, context.catalog, genre, paths)
        for path, kept in moved.items():
            why = "it is a draft now" if path in drafts else "nothing in the YAML has its picture where it was"
            lines.append(f"{kept}: {why}")
        for key in gone:
            path = paths.path_of_key(data, genre, key)
            if path.exists():
                why = "nothing in the YAML has its picture there; it was changed by hand, and stays"
                lines.append(f"{data.relative(path)}: {why}")
            context.store.forget_published(genre, key)
    return lines
