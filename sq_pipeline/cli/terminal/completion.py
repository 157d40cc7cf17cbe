"""What the shell completes from the data directory: worlds, tiers, adapters, pictures. Loads no engine.

A fault of the content is told by commands, not here: what can be read is offered. Not here: the shells' own part
(typer's `--install-completion`).
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sq_pipeline.common.layout import DataDir, data_root
from sq_pipeline.common.tiers import TIERS

if TYPE_CHECKING:
    from sq_pipeline.content.records import Catalog


def complete_world(context: typer.Context, incomplete: str) -> list[str]:
    """`genre/world` of each world."""
    catalog = _catalog(context)
    return _those(incomplete, catalog.worlds if catalog else ())


def complete_tier(incomplete: str) -> list[str]:
    """The tiers."""
    return _those(incomplete, TIERS)


def complete_adapter(context: typer.Context, incomplete: str) -> list[str]:
    """Each adapter's name; `genre/name` where a genre was begun, and where several have the name."""
    catalog = _catalog(context)
    if catalog is None:
        return []
    names = [adapter.name for adapter in catalog.adapters.values()]
    short = [name for name in names if names.count(name) == 1]
    return _those(incomplete, short) or _those(incomplete, catalog.adapters)


def complete_picture(context: typer.Context, incomplete: str) -> list[str]:
    """`genre/world/slug` of each expected picture, of the tier that was named; worlds first, as there are many."""
    catalog = _catalog(context)
    if catalog is None:
        return []
    worlds = _those(incomplete, (f"{key}/" for key in catalog.worlds))
    if len(worlds) > 1:
        return worlds
    tier = context.params.get("tier")
    return _those(
        incomplete,
        (
            f"{key}/{subject.slug}"
            for key, world in catalog.worlds.items()
            for its_tier, subjects in world.subjects.items()
            for subject in subjects
            if tier not in TIERS or tier == its_tier
        ),
    )


def _those(incomplete: str, words: Iterable[str]) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})


def _catalog(context: typer.Context) -> "Catalog | None":
    from sq_pipeline.content.packs import read_catalog

    with suppress(Exception):  # whatever is wrong there, a traceback in the middle of typing helps nobody
        named = context.params.get("data")  # whatever stands for nothing while a line is being typed
        data = DataDir(data_root(Path(named) if isinstance(named, str | Path) else None))
        if data.packs_root.is_dir():
            return read_catalog(data)
    return None
