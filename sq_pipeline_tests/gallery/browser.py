"""A real browser and a real server for tests of the gallery's page."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from sq_pipeline.gallery.listening import take_port
from sq_pipeline.gallery.server import gallery_app
from sq_pipeline.gallery.survey import Survey

START_S = 60
SERIOUS = ("serious", "critical")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Debian's Chromium, driven from here; skips the test where none is installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium is installed: see CONTRIBUTING.md")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers do not give
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(survey: Survey) -> Iterator[str]:
    """The gallery over a survey that looks by itself, and its address."""
    taken = take_port(0)
    app = gallery_app(survey, is_read_only=False)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run, args=([taken],), daemon=True)
    survey.start()
    thread.start()
    end = time.monotonic() + START_S
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
    finally:
        survey.stop()
        server.should_exit = True
        thread.join(START_S)
        taken.close()


@contextmanager
def opened(browser: Browser, address: str, *, width: int = 1200, height: int = 800, **more: Any) -> Iterator[Page]:
    """A page of which nothing may be wrong when the block ends: no error on its console, no request elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    origin = address.split("#")[0].rpartition("/")[0]
    page.on("request", lambda request: None if request.url.startswith(origin) else wrong.append(request.url))
    page.set_default_timeout(20_000)
    try:
        page.goto(address)
        yield page
        assert wrong == []
    finally:
        with suppress(Exception):
            context.close()


def problems(page: Page) -> list[str]:
    """What axe-core finds to be in the way of a screen reader, or of who sees little."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in SERIOUS]


def file_address(folder: Path) -> str:
    return (folder / "index.html").as_uri()
