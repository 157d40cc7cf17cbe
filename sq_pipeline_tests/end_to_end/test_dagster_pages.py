"""Dagster's pages in a real browser: an edit is seen, a world materialized, an adapter promoted, all by clicking."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from sq_pipeline.common.layout import DataDir
from sq_pipeline_tests.end_to_end.conftest import Demo, open_pages, run_command
from sq_pipeline_tests.gallery.browser import open_browser
from sq_pipeline_tests.pages import Pages

pytestmark = [pytest.mark.long, pytest.mark.takes(s=150)]

GENRE, WORLD, PLACE, OTHER = "spaghetti_western", "the_real_mccoy", "duel_church", "liars_peak"
IMAGES = f"{GENRE}/worlds/{WORLD}/poi_images"
ADAPTER = "neon_tides_landscape"
_WAIT_MS = 120_000
_BACKFILL_MS = 480_000  # Dagster looks at it twice a minute
_JPEG_DIFFERS = 6  # of 255, on average: what its compression costs


@pytest.fixture(scope="module")
def data(small: Demo, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """A copy of the finished small demo, in which a newer version of an adapter waits for a person."""
    data = DataDir(tmp_path_factory.mktemp("pages") / "data")
    shutil.copytree(small.data.root, data.root)
    _replace(data.settings_file, "promotion: automatic", "promotion: manual")
    _replace(data.datasets_root / "neon_tides/landscape/lora.yaml", "iterations: 4\n", "iterations: 5\n")
    report = run_command("run", "--data", data.root, "--json").report
    assert [item["asset"] for item in report["waiting"]] == [f"neon_tides/loras/{ADAPTER}/promoted_adapter"]
    assert (report["failed"], report["rendered"]) == ([], [])
    return data


@pytest.fixture(scope="module")
def pages(data: DataDir) -> Iterator[Pages]:
    with open_pages(data, "--no-gallery") as pages:
        yield pages


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, pages: Pages) -> Iterator[Page]:
    """The first page that Dagster shows; whatever is wrong with its own pages, no error may name our code."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(_WAIT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(pages.url)
    yield page
    context.close()
    assert [error for error in errors if "sq_pipeline" in error] == []


def _replace(path: Path, old: str, new: str) -> None:
    said = path.read_text()
    assert said.count(old) == 1
    path.write_text(said.replace(old, new))


def _edit(data: DataDir, where: str) -> None:
    """Let the chapel of the place's prompt stand there."""
    history = data.world_root(GENRE, WORLD) / "history.yaml"
    said = history.read_text()
    edited = re.sub(r"a chapel (in|on) the \w+", f"a chapel {where}", said)
    assert edited != said
    history.write_text(edited)


def _go_to(page: Page, where: str) -> None:
    """By Dagster's own navigation, at the left."""
    page.get_by_role("link", name=re.compile(rf"\b{where}$")).first.click()


def _open_asset(page: Page, name: str) -> None:
    """An asset of the world, from the catalog: its list is searched for the world."""
    _go_to(page, "Catalog")
    page.locator(".CodeMirror").first.click()
    page.keyboard.type(f"{WORLD}/")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")  # what the search proposes lies over the list
    page.get_by_role("link", name=re.compile(rf"{WORLD} \/ {name}$")).click()


def _open_place(page: Page, place: str) -> None:
    """A place's own part of the page of the pictures."""
    _open_asset(page, "poi_images")
    page.get_by_text("Partitions", exact=True).click()
    _choose_place(page, place)


def _choose_place(page: Page, place: str) -> None:
    page.get_by_text(place, exact=True).filter(visible=True).first.click()
    expect(page.get_by_text("Latest materialization")).to_be_visible(timeout=_WAIT_MS)
    expect(page.get_by_text(place, exact=True).filter(visible=True)).to_have_count(2)  # in the list, and above its own


def _observe(page: Page, pages: Pages) -> None:
    """Press *Observe* at what the world is read from; it is over when the page says so."""
    runs = len(pages.runs())
    _open_asset(page, "yaml")
    page.get_by_role("button", name="Observe").click()
    _go_to(page, "Runs")
    expect(page.get_by_text("Success", exact=True)).to_have_count(runs + 1, timeout=_WAIT_MS)


def _pictures(data: DataDir) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (data.genre_root(GENRE) / "images/poi").glob("*.png")}


def _pixels(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"), dtype=float)


def test_an_edit_is_seen_when_a_source_is_observed(page: Page, pages: Pages, data: DataDir) -> None:
    """At the place that it changes and at no other, with every sensor off; and an edit that is undone at none."""
    unsynced = page.get_by_text("Unsynced", exact=False)
    _edit(data, "on the left")
    _observe(page, pages)
    _open_place(page, PLACE)
    expect(unsynced).to_be_visible(timeout=_WAIT_MS)
    _choose_place(page, OTHER)
    expect(unsynced).to_have_count(0)
    _edit(data, "in the centre")
    _observe(page, pages)
    _open_place(page, PLACE)
    expect(page.get_by_text("Show Markdown")).to_be_visible(timeout=_WAIT_MS)
    expect(unsynced).to_have_count(0)


def test_a_world_is_materialized_and_its_picture_seen(page: Page, pages: Pages, data: DataDir) -> None:
    """All places are asked for; the one whose prompt was edited is rendered, and is on the page as in the game."""
    before = _pictures(data)
    _edit(data, "on the right")
    _open_asset(page, "poi_images")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("All", exact=True).click()
    dialog.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("View", exact=True).click()
    status = page.get_by_text("Status", exact=True).locator("..")
    expect(status.get_by_text("Succeeded", exact=True)).to_be_visible(timeout=_BACKFILL_MS)
    after = _pictures(data)
    assert {place for place in after if after[place] != before[place]} == {PLACE}
    (run,) = pages.runs(1)
    assert (run["assets"], run["status"], run["tags"]["sq/rendered"]) == ([IMAGES], "SUCCESS", "1")
    _open_place(page, PLACE)
    expect(page.get_by_text("[in the centre → on the right]")).to_be_visible()  # why it was made
    page.get_by_text("Show Markdown").click()
    picture = page.get_by_role("dialog").get_by_role("img", name="Duel Church")
    expect(picture).to_be_visible()
    kind, _, told = (picture.get_attribute("src") or "").partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = _pixels(base64.b64decode(told))
    assert np.abs(shown - _pixels(after[PLACE])).mean() < _JPEG_DIFFERS
    assert np.abs(shown - _pixels(before[PLACE])).mean() > _JPEG_DIFFERS


def test_an_adapter_is_promoted_from_the_launchpad(page: Page, data: DataDir) -> None:
    """The form says what its fields are for; with a name in it the version that waits is in use."""
    in_game = data.lora_root / "neon_tides/landscape.safetensors"
    before = in_game.read_bytes()
    _go_to(page, "Jobs")
    page.get_by_role("link", name="promote_an_adapter").click()
    page.get_by_text("Launchpad", exact=True).click()
    line = page.locator(".CodeMirror-line").filter(has_text="by: ''")
    line.click()
    expect(page.get_by_text("Who says so: your name.")).to_be_visible(timeout=_WAIT_MS)
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("Ada")
    expect(page.locator(".CodeMirror-line").filter(has_text="by: 'Ada'")).to_be_visible()
    page.get_by_role("button", name="Launch Run").click()
    expect(page.get_by_text("Success", exact=True)).to_be_visible(timeout=_WAIT_MS)
    expect(page.get_by_text("promoted by Ada")).to_be_visible(timeout=_WAIT_MS)
    newest, first = run_command("adapter", "history", ADAPTER, "--data", data.root, "--json").report["promotions"]
    assert (newest["by"], newest["act"], newest["is_in_use"], first["is_in_use"]) == ("Ada", "promotion", True, False)
    assert in_game.read_bytes() == (data.root / newest["path"]).read_bytes() != before
