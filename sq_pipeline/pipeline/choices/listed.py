"""What people chose, as a list."""

from dataclasses import asdict
from typing import Any

from sq_pipeline.pipeline.context import Context


def listed_choices(context: Context, world: str | None) -> list[dict[str, Any]]:
    """Every choice of a world or of all: of which picture, and in words (`told`). Raises SelectionError."""
    rows: list[dict[str, Any]] = []
    for shown in context.catalog.select(world):
        found = (*shown.choices.picks.items(), *shown.choices.kept.items())
        for (tier, slug), choice in sorted(found, key=lambda item: (item[0], item[1].act)):
            place = {"genre": shown.genre, "world": shown.name, "poi": slug, "tier": tier}
            rows.append({**place, **asdict(choice), "told": choice.describe})
    return rows
