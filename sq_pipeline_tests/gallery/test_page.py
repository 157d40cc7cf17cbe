"""The page in a real browser: filters, states, panel, slider, keyboard, a narrow window, updates, a screen reader."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from sq_pipeline.gallery.export import export_gallery
from sq_pipeline_tests.gallery.browser import file_address, open_browser, opened, problems, served
from sq_pipeline_tests.gallery.conftest import HTML, Shown
from sq_pipeline_tests.pipeline.fast import chapter, poi

pytestmark = [pytest.mark.long, pytest.mark.takes(s=90)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def address(in_states: Shown) -> Iterator[str]:
    with served(in_states.survey) as address:
        yield address


def _tiles(page: Page) -> list[str]:
    return page.locator("section:not([hidden]) .tile .name").all_text_contents()


def _focused(page: Page) -> str:
    return page.evaluate("document.activeElement.querySelector('.name')?.textContent || document.activeElement.id")


def test_filters_leave_what_they_say(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        expect(page.locator(".tile")).to_have_count(8)
        expect(page.get_by_role("status")).to_contain_text("8 pictures")
        for state, names in {"stale": ["Mill"], "waiting": ["Mine"], "draft": ["Ford"], "failed": ["Barn"]}.items():
            chip = page.locator(f".chip[data-state={state}]")
            chip.click()
            expect(chip).to_have_attribute("aria-pressed", "true")
            expect(page.locator("section:not([hidden]) .tile")).to_have_count(1)
            assert _tiles(page) == names
            chip.click()
        page.select_option("#world", "west/paper")
        expect(page.locator("section:not([hidden]) .tile")).to_have_count(2)
        page.select_option("#world", "")
        page.fill("#search", "BURNT mill")  # in the reason of one
        expect(page.locator("section:not([hidden]) .tile")).to_have_count(1)
        page.fill("#search", "no such thing")
        expect(page.locator("#nothing")).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("0 shown of 8")


def test_a_picture_s_panel_shows_why_and_two_versions_and_closes(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        page.locator(".tile", has_text="Mill").first.click()
        panel = page.get_by_role("dialog")
        expect(panel.get_by_role("heading", name="Mill")).to_be_focused()
        expect(panel).to_contain_text("burnt mill")
        expect(panel).to_contain_text("west/worlds/old/prompts:mill")
        expect(panel).to_contain_text("west, a burnt mill, wide")
        expect(panel.locator("meter").first).to_have_attribute("aria-label", "T5: 5 of 96 tokens")
        assert page.url.endswith("#/west/old/landscape/mill")
        slider = panel.get_by_role("slider")
        slider.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        over = panel.locator("img.over")
        assert over.evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 60%)"
        right, left = (
            panel.get_by_label("Right").and_(panel.locator("select")),
            panel.get_by_label("Left", exact=False).and_(panel.locator("select")),
        )
        left.select_option(label=str(left.locator("option").nth(0).text_content()))
        expect(slider).to_be_hidden()  # twice the same picture
        panel.get_by_role("heading", name="Mill").focus()
        page.keyboard.press("2")
        expect(right.locator("option:checked")).to_contain_text("take 2")
        expect(slider).to_be_visible()
        page.keyboard.press("Escape")
        expect(panel).to_have_count(0)
        assert _focused(page) == "Mill"
        page.go_back()
        expect(page.get_by_role("dialog")).to_be_visible()


def test_the_keyboard_alone_is_enough(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        expect(page.locator(".tile")).to_have_count(8)
        page.keyboard.press("ArrowRight")
        assert _focused(page) == "Mill"
        page.keyboard.press("ArrowRight")
        assert _focused(page) == "Mine"
        page.keyboard.press("ArrowDown")
        below = _focused(page)
        assert below not in ("Mill", "Mine", "")
        page.keyboard.press("ArrowUp")
        assert _focused(page) == "Mine"
        page.keyboard.press("Enter")
        panel = page.locator("#panel")
        expect(panel).to_contain_text("is not a picture of ours")
        page.keyboard.press("ArrowLeft")
        expect(panel).to_contain_text("burnt mill")
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        page.keyboard.press("/")
        assert _focused(page) == "search"
        page.keyboard.type("mill?")  # typed, and no key of ours
        expect(page.locator("#search")).to_have_value("mill?")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()


def test_names_with_markup_are_shown_as_text(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        page.locator(".tile.state-new").click()
        expect(page.locator("#panel h2")).to_contain_text(HTML)
        assert page.locator("#panel img[src=x], .tile img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_and_a_screen_reader_finds_its_way(browser: Browser, address: str, width: int, scheme: str) -> None:
    with opened(browser, address, width=width, color_scheme=scheme, bypass_csp=True) as page:
        expect(page.locator(".tile")).to_have_count(8)
        assert problems(page) == []
        page.goto(f"{address}#/west/old/landscape/mill")
        expect(page.locator("#panel .compare")).to_be_visible()
        assert problems(page) == []
        hidden = page.locator("#panel").evaluate("panel => panel.scrollWidth - panel.clientWidth")
        assert (page.evaluate("document.documentElement.scrollWidth"), hidden) == (width, 0)
        page.keyboard.press("Escape")
        page.locator("#theme").click()
        other = {"light": "dark", "dark": "light"}[scheme]
        expect(page.locator("html")).to_have_attribute("data-theme", other)
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", other)


@pytest.mark.parametrize("ratio", [1, 1.25, 2])
def test_small_pictures_are_whole_multiples_of_their_pixels(browser: Browser, address: str, ratio: float) -> None:
    with opened(browser, address, device_scale_factor=ratio) as page:
        for place in ("", "#/west/old/landscape/mill"):
            page.goto(address + place)
            image = page.locator("#panel .stage img" if place else ".tile img").first
            expect(image).to_have_css("image-rendering", "pixelated")
            scale = image.evaluate("i => i.getBoundingClientRect().width * devicePixelRatio / i.naturalWidth")
            assert scale >= 1
            assert scale == pytest.approx(round(scale), abs=0.02)


def test_it_follows_what_happens_and_keeps_its_place(browser: Browser, address: str, in_states: Shown) -> None:
    game = in_states.game
    with opened(browser, f"{address}#/west/old/landscape/mill") as page:
        panel = page.locator("#panel")
        expect(panel.locator("h2 .badge")).to_have_text("stale")
        game.data.published_image("west", "landscape", "mine").unlink()
        places = [poi("Mill", "a burnt mill"), poi("Mine"), poi("Inn")]
        game.edit("worlds/old/history.yaml", {"chapters": [chapter(*places)]})
        expect(page.locator(".tile")).to_have_count(5)  # the others are gone
        game.bring_up()
        expect(panel.locator("h2 .badge")).to_have_text("fresh")
        expect(panel).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("5 fresh")
        shutil.rmtree(game.data.store_root)
        expect(page.locator("#notices")).to_contain_text("The store is gone")
        page.keyboard.press("Escape")
        expect(page.locator(".tile img")).to_have_count(5)
        assert all(page.locator(".tile img").evaluate_all("all => all.map(image => image.naturalWidth > 0)"))


def test_an_export_is_the_same_page_from_a_file(browser: Browser, in_states: Shown) -> None:
    folder = in_states.game.data.root.parent / "an export"
    export_gallery(in_states.survey, folder)
    moved = folder.rename(folder.parent / "moved")
    with opened(browser, file_address(moved)) as page:
        expect(page.locator(".tile")).to_have_count(8)
        page.locator(".chip[data-state=stale]").click()
        expect(page.locator("section:not([hidden]) .tile")).to_have_count(1)
        page.locator(".tile", has_text="Mill").first.click()
        panel = page.locator("#panel")
        expect(panel).to_contain_text("burnt mill")
        page.keyboard.press("3")
        expect(panel.get_by_label("Right").locator("option:checked")).to_contain_text("take 3")
        assert all(panel.locator("img").evaluate_all("all => all.map(image => image.naturalWidth > 0)"))
        page.goto(f"{file_address(moved)}#/west/paper/landscape/gate")
        page.reload()
        expect(panel.get_by_role("heading", name="Gate")).to_be_visible()
