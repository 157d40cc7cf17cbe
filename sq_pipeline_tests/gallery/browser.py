"""A real browser and a real server for tests of the gallery's page."""

import re
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
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from sq_pipeline.gallery.listening import take_port
from sq_pipeline.gallery.server import gallery_app
from sq_pipeline.gallery.survey import Survey
from sq_pipeline.gallery.workshop import Workshop

START_S = 60
REFUSAL = re.compile(r"^Failed to load resource: .* status of (403|409) ")
expect.set_options(timeout=20_000)
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
def served(survey: Survey, *, is_read_only: bool = False) -> Iterator[str]:
    """The gallery over a survey that looks by itself, and its address."""
    taken = take_port(0)
    workshop = Workshop(survey)
    app = gallery_app(survey, None if is_read_only else workshop)
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
        workshop.stop(START_S)
        server.should_exit = True
        thread.join(START_S)
        taken.close()


@contextmanager
def opened(browser: Browser, address: str, *, width: int = 1200, height: int = 800, **more: Any) -> Iterator[Page]:
    """A page of which nothing may be wrong when the block ends: no error on its console, no request elsewhere."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    page = context.new_page()
    wrong: list[str] = []

    def is_wrong(message: ConsoleMessage) -> bool:
        """True for errors; a browser's own line on an answer that refuses something is none."""
        return message.type in ("error", "warning") and not REFUSAL.search(message.text)

    page.on("console", lambda message: wrong.append(message.text) if is_wrong(message) else None)
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
