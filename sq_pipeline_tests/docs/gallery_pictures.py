"""Takes the pictures of `docs/gallery.md`: `python -m sq_pipeline_tests.docs.gallery_pictures DIR`, a finished demo.

The demo is edited in a copy: one prompt says something else, and its place has takes.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from sq_pipeline.common.layout import DataDir
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.pipeline.context import Context
from sq_pipeline.pipeline.worlds.named_picture import find_picture
from sq_pipeline.pipeline.worlds.takes import make_takes
from sq_pipeline.wiring import real_engines
from sq_pipeline_tests.docs.blocks import ROOT
from sq_pipeline_tests.gallery.browser import open_browser, opened, served

_PLACE = "#/spaghetti_western/dust_and_iron/landscape/the_anvil"
# file, address, width, height, colours
_SHOTS = (
    ("gallery.webp", "", 1100, 720, "light"),
    ("gallery-picture.webp", _PLACE, 1100, 900, "dark"),
    ("gallery-narrow.webp", "", 400, 720, "dark"),
    ("gallery-acting.webp", _PLACE, 1100, 1000, "light"),
)
_ACTING = "gallery-acting.webp"


def main() -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as folder:
        data = DataDir(Path(folder).resolve() / "demo")
        shutil.copytree(sys.argv[1], data.root, symlinks=True)
        context = Context(data, real_engines(data), looks_ahead=False)
        make_takes(context, find_picture(context, "spaghetti_western/dust_and_iron/the_anvil"), 1, 4)
        history = data.world_root("spaghetti_western", "dust_and_iron") / "history.yaml"
        history.write_text(history.read_text().replace("the desert at noon", "the snow at noon", 1))
        with served(Survey(data, lambda: Context(data, real_engines(data)))) as address, open_browser() as browser:
            for name, place, width, height, scheme in _SHOTS:
                with opened(browser, address + place, width=width, height=height, color_scheme=scheme) as page:
                    page.locator("#panel .takes img" if place else ".tile.state-stale").first.wait_for(timeout=60_000)
                    page.wait_for_load_state("load")
                    if name == _ACTING:
                        _act(page)
                    shot = Image.open(io.BytesIO(page.screenshot()))
                    shot.save(ROOT / "docs" / "pictures" / name, quality=80)


def _act(page: Page) -> None:
    """Takes made anew, take 3 of them picked."""
    panel = page.locator("#panel")
    page.keyboard.press("r")
    expect(panel.get_by_role("status")).to_contain_text("are there", timeout=120_000)
    panel.get_by_label("Who decides").fill("Ada")
    panel.get_by_label("Why (optional)").fill("the cloud")
    page.get_by_role("heading", name="The Anvil").focus()
    page.keyboard.press("3")
    page.keyboard.press("p")
    expect(panel.get_by_role("status")).to_contain_text("is that picture now")
    page.get_by_role("heading", name="The Anvil").focus()


if __name__ == "__main__":
    main()
