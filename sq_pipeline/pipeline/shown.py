"""What an asset's page shows of a record, beside its figures. Not here: how a page draws it (defs)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShownPicture:
    """The record's object `name`, a PNG, as a thumbnail; nothing where the record has none."""

    name: str
    alt: str
    max_side_px: int


@dataclass(frozen=True)
class ShownText:
    """The record's object `name`, Markdown."""

    name: str


Shown = ShownPicture | ShownText
