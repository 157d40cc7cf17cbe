"""The sheet of the README, from a finished demo: `python -m sq_pipeline_tests.docs.sheet DIR` (`just sheet DIR`).

Its pictures differ a little between chips, so no test compares them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from sq_pipeline.common.atomic import atomic_path
from sq_pipeline.common.layout import DataDir, open_data_dir
from sq_pipeline.content.packs import read_catalog
from sq_pipeline.content.records import World
from sq_pipeline.pictures.sheets import Tile, draw_sheet
from sq_pipeline_tests.docs.blocks import DOCS

SHEET = DOCS / "pictures" / "demo.jpg"
_COLUMNS = 4


def main() -> None:
    """Draw a row of pictures for each world."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a data directory that `sq-pipeline demo` finished")
    data = open_data_dir(parser.parse_args().folder)
    rows = [list(_tiles(data, world)) for world in read_catalog(data).worlds.values()]
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(SHEET) as part:
        draw_sheet(rows).save(part, format="JPEG", quality=86, optimize=True)


def _tiles(data: DataDir, world: World) -> Iterator[Tile]:
    """The first pictures of a world's places."""
    for poi in world.pois[:_COLUMNS]:
        with Image.open(data.published_image(world.genre, "landscape", poi.slug)) as image:
            yield Tile(np.asarray(image.convert("RGB")), f"{poi.name}, {world.name}")


if __name__ == "__main__":
    main()
