"""A world's pictures on one sheet. Not here: drawing sheets (`sheets`)."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sq_pipeline.stages.sheets import Tile, draw_sheet


def draw_gallery(pictures: Sequence[tuple[str, bytes]], columns: int = 4) -> bytes:
    """A PNG of all `pictures` (label, PNG bytes), in order, `columns` a row. Needs at least one."""
    tiles: list[Tile] = []
    for label, png in pictures:
        with Image.open(io.BytesIO(png)) as image:
            tiles.append(Tile(np.asarray(image.convert("RGB")), label))
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    buffer = io.BytesIO()
    draw_sheet(rows).save(buffer, format="PNG")
    return buffer.getvalue()
