"""Acting on the page in a real browser: reroll, pick, lock, adopt, put back, without loading it anew; by keys alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from sq_pipeline.pipeline.gallery_address import picture_address
from sq_pipeline_tests.gallery.browser import open_browser, opened, problems, served
from sq_pipeline_tests.gallery.conftest import Shown
from sq_pipeline_tests.pipeline.test_choices import choices_file, file_of, reword
from sq_pipeline_tests.pipeline.test_theirs import retouch

pytestmark = [pytest.mark.long, pytest.mark.takes(s=90)]

MILL = picture_address("", "west", "old", "landscape", "mill")
SIZES = [(400, "dark"), (1200, "light")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def address(shown: Shown) -> Iterator[str]:
    with served(shown.survey) as address:
        yield address


def _open(page: Page) -> Locator:
    """The panel, and a marker that only lives as long as the page."""
    page.evaluate("window.isStillTheSame = true")
    panel = page.locator("#panel")
    expect(panel.get_by_role("heading", name="Mill")).to_be_focused()
    return panel


def _is_same(page: Page) -> bool:
    return page.evaluate("window.isStillTheSame === true")


def _done(panel: Locator, told: str) -> None:
    expect(panel.get_by_role("status")).to_contain_text(told)


def test_rerolled_and_picked_by_keys_alone(browser: Browser, address: str, shown: Shown) -> None:
    game = shown.game
    with opened(browser, address + MILL) as page:
        panel = _open(page)
        page.keyboard.press("p")
        expect(panel.locator(".said")).to_be_empty()  # there is nothing to pick
        page.keyboard.press("r")
        expect(panel.locator(".takes li")).to_have_count(4)
        _done(panel, "takes 1 to 4 are there")
        was = file_of(game).read_bytes()
        page.keyboard.press("2")
        _done(panel, "Take 2 is on the right; p picks it")
        assert file_of(game).read_bytes() == was
        page.keyboard.press("p")
        _done(panel, "Say who decides it")
        expect(panel.get_by_label("Who decides")).to_be_focused()
        page.keyboard.type("Ada lr2p")  # typed, and no key of ours
        page.keyboard.press("Enter")
        _done(panel, "is that picture now")
        take = game.data.takes_root / "west/old/landscape/mill/take-2.png"
        assert file_of(game).read_bytes() == take.read_bytes()
        assert choices_file(game).read_text().count("picture:") == 1
        assert "by: Ada lr2p" in choices_file(game).read_text()
        assert (game.plan()["stale"], game.plan()["faults"]) == ([], [])
        expect(panel).to_contain_text("take 2, picked by Ada lr2p")
        assert _is_same(page)
        page.keyboard.press("Escape")
        expect(page.locator(".tile", has_text="Mill").locator(".mark")).to_have_text("picked")
        page.reload()
        page.goto(address + MILL)
        expect(panel.get_by_label("Who decides")).to_have_value("Ada lr2p")  # asked once


def test_a_take_of_before_says_so_and_cannot_be_picked(browser: Browser, address: str, shown: Shown) -> None:
    game = shown.game
    with opened(browser, address + MILL) as page:
        panel = _open(page)
        panel.get_by_label("Who decides").fill("Ada")
        panel.get_by_role("button", name="Reroll").click()
        _done(panel, "takes 1 to 4 are there")
        expect(panel.get_by_role("button", name="Pick take 1")).to_be_enabled()
        reword(game)
        expect(panel.locator(".takes .before").first).to_contain_text("of before: ")
        expect(panel.locator(".takes .before").first).to_contain_text("in the rain")
        expect(panel.get_by_role("button", name="Pick take 1")).to_be_disabled()
        panel.get_by_role("heading", name="Mill").focus()
        page.keyboard.press("2")
        _done(panel, "take 2 cannot be picked, it is of before")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
        page.keyboard.press("p")
        panel.get_by_role("group", name="Actions").get_by_role("button", name="Pick", exact=True).click()
        _done(panel, "take 2 cannot be picked, it is of before")
        assert asked == []
        assert not choices_file(game).exists()
        page.keyboard.press("r")
        expect(panel.locator(".takes .before")).to_have_count(0)
        expect(panel.get_by_role("button", name="Pick take 1")).to_be_enabled()
        assert _is_same(page)


def test_locked_and_let_go_again(browser: Browser, address: str, shown: Shown) -> None:
    with opened(browser, address + MILL) as page:
        panel = _open(page)
        panel.get_by_label("Who decides").fill("Bo")
        panel.get_by_label("Why (optional)").fill("my <b>best</b>")
        panel.get_by_role("button", name="Lock").click()
        expect(panel.locator("h2 .badge")).to_have_text("locked")
        _done(panel, "locked by Bo")
        expect(panel).to_contain_text("because my <b>best</b>")
        expect(panel.get_by_label("Why (optional)")).to_have_value("")
        panel.get_by_role("heading", name="Mill").focus()
        page.keyboard.press("l")
        expect(panel.locator("h2 .badge")).to_have_text("fresh")
        expect(panel.get_by_role("button", name="Lock")).to_be_visible()
        assert not choices_file(shown.game).exists()
        assert _is_same(page)


def test_a_file_is_adopted_and_the_one_before_put_back(
    browser: Browser, address: str, shown: Shown, tmp_path: Path
) -> None:
    game = shown.game
    was, mine, words = file_of(game).read_bytes(), tmp_path / "mine.png", tmp_path / "words.png"
    shutil.copyfile(file_of(game), mine)
    retouch(mine)
    words.write_text("no picture")
    with opened(browser, address + MILL) as page:
        panel = _open(page)
        panel.get_by_label("Who decides").fill("Ada")
        with page.expect_event("console") as told:  # a browser says each 409 on its console
            panel.get_by_label("A file of yours").set_input_files(words)
        assert "409" in told.value.text
        _done(panel, "words.png: is no picture")
        assert file_of(game).read_bytes() == was
        panel.get_by_label("A file of yours").set_input_files(mine)
        expect(panel.locator("h2 .badge")).to_have_text("adopted")
        _done(panel, "is that picture now")
        assert file_of(game).read_bytes() != was
        panel.get_by_role("button", name="Put version").first.click()
        expect(panel.locator("h2 .badge")).to_have_text("locked")
        _done(panel, "is that picture now")
        assert file_of(game).read_bytes() == was
        assert (game.plan()["stale"], game.plan()["faults"]) == ([], [])
        assert _is_same(page)


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_a_screen_reader_finds_its_way_in_a_panel_that_acts(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    with opened(browser, address + MILL, width=width, color_scheme=scheme, bypass_csp=True) as page:
        panel = _open(page)
        page.keyboard.press("r")
        _done(panel, "takes 1 to 4 are there")
        panel.get_by_label("Who decides").fill("Ada")
        panel.get_by_role("button", name="Pick take 1").click()
        _done(panel, "is that picture now")
        panel.get_by_role("heading", name="Mill").focus()
        page.keyboard.press("l")  # lets go of the pick
        expect(panel.get_by_role("button", name="Lock", exact=True)).to_be_enabled()
        page.keyboard.press("l")
        expect(panel.locator("h2 .badge")).to_have_text("locked")
        assert problems(page) == []
        hidden = panel.evaluate("panel => panel.scrollWidth - panel.clientWidth")
        assert (page.evaluate("document.documentElement.scrollWidth"), hidden) == (width, 0)
        page.keyboard.press("Escape")
        expect(page.locator(".tile.state-locked")).to_have_count(1)
        assert problems(page) == []


def test_a_page_of_a_gallery_that_was_started_anew_says_so(browser: Browser, address: str, shown: Shown) -> None:
    with opened(browser, address + MILL) as page:
        panel = _open(page)
        panel.get_by_label("Who decides").fill("Ada")
        page.route(
            "**/lock?*", lambda route: route.continue_(headers={**route.request.headers, "x-gallery-token": "x"})
        )
        with page.expect_event("console"):
            panel.get_by_role("button", name="Lock").click()
        _done(panel, "load it anew")
        assert not choices_file(shown.game).exists()


def test_for_looking_only_there_is_nothing_to_press(browser: Browser, shown: Shown) -> None:
    with served(shown.survey, is_read_only=True) as address, opened(browser, address + MILL) as page:
        panel = _open(page)
        expect(panel.locator(".compare")).to_be_visible()
        assert panel.get_by_role("button").all_text_contents() == ["‹", "›", "✕"]
        for key in "lrp":
            page.keyboard.press(key)
        expect(page.locator("h1")).to_contain_text("for looking only")
